/**
 * Layer 2 in the living server (L2-08, L2-23): a payload in each role after its seal, with its real descriptors, on a
 * network of the test's own with a capture at its end. Nothing is in a hostile process's place: the role itself makes
 * the call.
 *
 * What kills ends the server and leaves exit 16; what is refused leaves it in service. Not one packet. How long it
 * takes until everything is dead is printed, not asserted: a busy machine would fail it. The bench
 * (`test/bench/isolation.ts`) measures it. Needs root: network namespaces, a capture, and a debugger's rights over the
 * roles.
 * @module
 */
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { addresses, Machine } from '../support/namespace.ts';
import { attackRoles } from '../support/payloads.ts';
import { startServer, until } from '../support/server.ts';

const machine = new Machine();
let packets: () => string[] = () => [];

before(async () => {
  await machine.start();
  packets = await machine.capture();
  machine.join();
});
after(() => machine.stop());

attackRoles(
  '',
  async () => await startServer(),
  () => packets(),
);

test('the capture would have seen a packet', async () => {
  const client = connect(9, addresses.there.four);
  client.on('error', () => undefined);
  await until('a packet', () => packets().length > 0);
  client.destroy();
});
