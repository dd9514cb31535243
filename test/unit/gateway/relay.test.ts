/**
 * The relay between clients and the engine in a real gateway process: order, credit, breaches.
 * @module
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { test } from 'node:test';
import { encodeResponseHead } from '../../../src/wire/data-payloads.ts';
import { dataMessages, engineRoutes } from '../../../src/wire/messages.ts';
import type { Options } from '../../support/gateway.ts';
import { principalOf, rawRequest, requestText, sleep, startGateway } from '../../support/gateway.ts';

async function withGateway(
  options: Options,
  use: (gateway: Awaited<ReturnType<typeof startGateway>>) => Promise<void>,
): Promise<void> {
  const gateway = await startGateway(options);
  try {
    await use(gateway);
  } finally {
    await gateway.stop();
  }
}

const post = (gateway: { port: number; token: string }, body = '{}') =>
  requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body });

test('bodies arrive unchanged, with route, holder and length; so do responses', async () => {
  const answer = randomBytes(300_000);
  await withGateway(
    {
      script(turn) {
        turn.head(201);
        const half = answer.length / 2;
        turn.send(answer.subarray(0, half));
        setTimeout(() => {
          turn.send(answer.subarray(half));
          turn.end();
        }, 20);
      },
    },
    async (gateway) => {
      for (const length of [0, 1, 65_535, 65_536, 65_537, 3_000_000]) {
        const body = randomBytes(length);
        const response = await fetch(`${gateway.url}/v1/chat/completions`, {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json', 'x-api-key': gateway.token },
        });
        assert.equal(response.status, 201);
        assert.deepEqual(Buffer.from(await response.arrayBuffer()), answer);
        const turn = gateway.turns.at(-1)!;
        assert.deepEqual(turn.body, body);
        assert.equal(turn.open.route, engineRoutes.chatCompletions);
        assert.equal(turn.open.bodyLength, length);
        assert.equal(turn.open.principal.toString('hex'), principalOf(gateway.token));
      }
      await sleep(50);
      // Bytes in flight when the engine ends its response need no credit.
      assert.ok(
        gateway.turns.every((turn) => turn.credit >= answer.length / 2 && turn.credit <= answer.length),
        'credit is returned byte for byte',
      );
    },
  );
});

test('events are relayed as they arrive, one at a time', async () => {
  await withGateway(
    {
      script(turn) {
        turn.head(200, 2);
        let n = 0;
        const tick = setInterval(() => {
          turn.send(`data: ${n}\n\n`);
          n += 1;
          if (n === 5) {
            clearInterval(tick);
            turn.end();
          }
        }, 60);
      },
    },
    async (gateway) => {
      const response = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        body: '{}',
        headers: { 'content-type': 'application/json', 'x-api-key': gateway.token },
      });
      assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
      const at: number[] = [];
      for await (const chunk of response.body!) {
        assert.match(Buffer.from(chunk as Uint8Array).toString(), /^data: \d\n\n$/);
        at.push(performance.now());
      }
      assert.equal(at.length, 5);
      assert.ok(at.at(-1)! - at[0]! > 150);
    },
  );
});

test('the engine may respond before the body is complete, and the connection stays usable', async () => {
  await withGateway({ script: () => undefined, onOpen: (turn) => turn.json({ error: 1 }, 400) }, async (gateway) => {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      body: Buffer.alloc(5 << 20, 0x20),
      headers: { 'content-type': 'application/json', 'x-api-key': gateway.token },
    });
    assert.equal(response.status, 400);
    assert.deepEqual(await response.json(), { error: 1 });
    assert.equal((await rawRequest(gateway.port, requestText(gateway))).status, 400);
  });
});

test('retry-after is relayed; an abort by the engine is a 500 or a visibly truncated response', async () => {
  await withGateway(
    {
      script(turn) {
        if (turn.id === 1) {
          turn.head(429, 1, 7);
          turn.end();
        } else if (turn.id === 2) turn.abort();
        else {
          turn.head(200, turn.id === 3 ? 2 : 1);
          turn.send('begun');
          setTimeout(() => turn.abort(), 30);
        }
      },
    },
    async (gateway) => {
      const limited = await rawRequest(gateway.port, post(gateway));
      assert.equal(limited.headers['retry-after'], '7');
      assert.equal((await rawRequest(gateway.port, post(gateway))).status, 500);
      const stream = await rawRequest(gateway.port, post(gateway), { more: true });
      assert.match(stream.text, /begun\r\n[\s\S]*data: \{"error":\{.*"code":"engine_error"/);
      const whole = await rawRequest(gateway.port, post(gateway), { more: true });
      assert.doesNotMatch(whole.text, /0\r\n\r\n$/, 'a truncated JSON response must not look complete');
    },
  );
});

/** What a hostile or broken engine could send: each is a breach that ends the gateway at once. */
const breaches: Readonly<Record<string, (gateway: Awaited<ReturnType<typeof startGateway>>, id: number) => void>> = {
  'a response to no request': (gateway) =>
    gateway.engine.send(
      dataMessages.responseHead,
      encodeResponseHead({ status: 200, media: 1, retryAfterSeconds: 0 }),
      99,
    ),
  'a response on stream 0': (gateway) => gateway.engine.send(dataMessages.responseEnd, undefined, 0),
  'a body before a head': (gateway, id) => gateway.engine.send(dataMessages.responseBody, Buffer.from('x'), id),
  'an end before a head': (gateway, id) => gateway.engine.send(dataMessages.responseEnd, undefined, id),
  'two heads': (gateway, id) => {
    for (let i = 0; i < 2; i += 1)
      gateway.engine.send(
        dataMessages.responseHead,
        encodeResponseHead({ status: 200, media: 1, retryAfterSeconds: 0 }),
        id,
      );
  },
  'an invalid status': (gateway, id) =>
    gateway.engine.send(dataMessages.responseHead, Buffer.from([99, 0, 1, 0, 0, 0, 0, 0]), id),
  'an invalid media type': (gateway, id) =>
    gateway.engine.send(dataMessages.responseHead, Buffer.from([200, 0, 9, 0, 0, 0, 0, 0]), id),
  'a message that only the gateway may send': (gateway, id) =>
    gateway.engine.send(dataMessages.requestBody, Buffer.from('x'), id),
  'an order of the supervisor': (gateway) => gateway.engine.send(0x46, Buffer.from('{"tokens":[]}')),
};

for (const [name, breach] of Object.entries(breaches)) {
  test(`the engine sends ${name}: the gateway exits at once with code 70`, async () => {
    const gateway = await startGateway({ script: (turn) => breach(gateway, turn.id) });
    const [answer, ended] = await Promise.all([rawRequest(gateway.port, post(gateway)), gateway.ended]);
    assert.deepEqual(ended, { code: 70, signal: null });
    assert.equal(answer.status === 200 && answer.text.endsWith('0\r\n\r\n'), false);
    await gateway.stop();
  });
}

test('the engine sends without credit while the client reads nothing: the gateway exits at once', async () => {
  const gateway = await startGateway({
    script(turn) {
      turn.head(200, 2);
      for (let i = 0; i < 400; i += 1) turn.send(Buffer.alloc(65_536, 0x61));
    },
  });
  const client = connect(gateway.port, '127.0.0.1', () => client.write(post(gateway)));
  client.pause();
  client.on('error', () => undefined);
  assert.deepEqual(await gateway.ended, { code: 70, signal: null });
  client.destroy();
  await gateway.stop();
});

test('late frames for a finished request are dropped', async () => {
  await withGateway(
    {
      script(turn) {
        turn.json({ ok: true });
        turn.send('late');
        turn.end();
        turn.abort();
      },
    },
    async (gateway) => {
      for (let i = 0; i < 3; i += 1) assert.equal((await rawRequest(gateway.port, post(gateway))).status, 200);
    },
  );
});
