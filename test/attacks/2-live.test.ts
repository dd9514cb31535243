/**
 * Layer 2 in the living server (L2-08, L2-23): a payload in each role after its seal, with its real descriptors, on a network
 * of the test's own with a capture at its end. Nothing is in a hostile process's place: the role itself makes the call.
 *
 * What kills ends the server within 100 ms and leaves exit 16; what is refused leaves it in service. Not one packet.
 * Needs root: network namespaces, a capture, and a debugger's rights over the roles.
 * @module
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { addresses, Machine } from '../support/namespace.ts';
import { deadly, lookAround, makes, refused } from '../support/payloads.ts';
import { alive, call, startServer, tree, until } from '../support/server.ts';

const machine = new Machine();
let packets: () => string[] = () => [];

before(async () => {
  await machine.start();
  packets = await machine.capture();
  machine.join();
});
after(() => machine.stop());

const ask = { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content: 'What does layer 2 do?' }] };

for (const role of ['gateway', 'engine', 'watchdog'] as const) {
  test(`L2-08 L2-23 refused inside the living ${role}, which goes on serving`, async (t) => {
    const server = await startServer();
    t.after(() => {
      server.kill();
    });
    const { here, pid, client } = await lookAround(server, role);
    for (const payload of refused(role)) assert.deepEqual(await makes(pid, here, payload), { answer: -1 }, payload[0]);
    client.destroy();
    assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
    assert.equal((await server.stop()).code, 0);
    assert.deepEqual(packets(), []);
  });

  for (const payload of deadly[role]) {
    test(`L2-23 inside the living ${role}: ${payload[0]} ends everything`, async (t) => {
      const server = await startServer();
      t.after(() => {
        server.kill();
      });
      const { here, pid, client } = await lookAround(server, role);
      const ours = tree(server.pid).filter((one) => one !== server.pid);
      const outcome = await makes(pid, here, payload);
      const from = performance.now();
      assert.deepEqual(outcome, { signal: 31 });
      await until('the children to end', () => !ours.some(alive));
      const took = performance.now() - from;
      client.destroy();
      assert.equal((await server.ended).code, 16, server.output());
      assert.match(server.output(), /L6_KERNEL_KILL/);
      t.diagnostic(`all children dead ${Math.round(took)} ms after the call`);
      assert.deepEqual(packets(), []);
    });
  }
}

test('the capture would have seen a packet', async () => {
  const client = connect(9, addresses.there.four);
  client.on('error', () => undefined);
  await until('a packet', () => packets().length > 0);
  client.destroy();
});
