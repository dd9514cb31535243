/**
 * The life of a gateway process: startup, new tokens, and every way to end.
 * @module
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { encodeJson } from '../../../src/wire/control-payloads.ts';
import { controlMessages } from '../../../src/wire/messages.ts';
import { errorCode, rawRequest, requestText, sleep, startGateway } from '../../support/gateway.ts';
import { assertWithin } from '../../support/time-bounds.ts';

const post = (gateway: { port: number; token: string }) =>
  requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body: '{}' });

test('health, page and status are served without the engine', async () => {
  const gateway = await startGateway();
  try {
    gateway.pauseEngine();
    assert.equal(
      (await rawRequest(gateway.port, requestText(gateway, { target: '/health', token: false }))).body,
      '{"status":"ok"}',
    );
    const page = await rawRequest(gateway.port, requestText(gateway, { target: '/', token: false }));
    assert.match(page.headers['content-type'] ?? '', /^text\/html/);
    assert.match(page.headers['content-security-policy'] ?? '', /script-src 'self'/);
    assert.deepEqual(
      JSON.parse((await rawRequest(gateway.port, requestText(gateway, { target: '/kwyre/status' }))).body),
      { version: 'test', layers: [] },
    );
    assert.equal(
      (await rawRequest(gateway.port, requestText(gateway, { target: '/kwyre/status', token: false }))).status,
      401,
    );
    assert.equal(gateway.turns.length, 0);
  } finally {
    await gateway.stop();
  }
});

test('when the engine dies, every client gets an error, `drained` is sent, and the process exits', async () => {
  const gateway = await startGateway({
    script(turn) {
      if (turn.id === 1) return;
      turn.head(200, turn.id === 2 ? 2 : 1);
      turn.send('begun');
    },
  });
  const waiting = rawRequest(gateway.port, post(gateway), { more: true, quietMs: 3000 });
  await sleep(60);
  const streaming = rawRequest(gateway.port, post(gateway), { more: true, quietMs: 3000 });
  await sleep(60);
  const whole = rawRequest(gateway.port, post(gateway), { more: true, quietMs: 3000 });
  await sleep(60);
  const started = performance.now();
  gateway.killEngine();
  const [a, b, c] = await Promise.all([waiting, streaming, whole]);
  assert.equal(a.status, 503);
  assert.equal(errorCode(a), 'engine_restarting');
  assert.equal(a.headers['retry-after'], '2');
  assert.match(b.text, /begun\r\n[\s\S]*data: \{"error":\{[^\n]*"code":"engine_restarting"[^\n]*\n\n/);
  assert.ok(
    c.text.includes('begun') && !c.text.endsWith('0\r\n\r\n'),
    'a truncated JSON response does not look complete',
  );
  await gateway.drained;
  assert.deepEqual(await gateway.ended, { code: 0, signal: null });
  assertWithin('the end after the engine', performance.now() - started, 1000);
  await gateway.stop();
});

test('a stalled client does not delay the exit', async () => {
  const { connect } = await import('node:net');
  const gateway = await startGateway({
    script(turn) {
      turn.head(200, 2);
      turn.send(Buffer.alloc(200_000, 0x61));
    },
  });
  const socket = connect(gateway.port, '127.0.0.1', () => socket.write(post(gateway)));
  socket.pause();
  socket.on('error', () => undefined);
  await sleep(200);
  const started = performance.now();
  gateway.killEngine();
  assert.deepEqual(await gateway.ended, { code: 0, signal: null });
  assertWithin('the end after the engine', performance.now() - started, 1000);
  socket.destroy();
  await gateway.stop();
});

test('losing the supervisor ends the process at once; a stop order drains first', async () => {
  const first = await startGateway({ script: () => undefined });
  const held = rawRequest(first.port, post(first));
  await sleep(60);
  first.dropControl();
  assert.deepEqual(await first.ended, { code: 0, signal: null });
  await held;
  await first.stop();

  const second = await startGateway({ script: () => undefined });
  const told = rawRequest(second.port, post(second));
  await sleep(60);
  second.control.send(controlMessages.stop);
  assert.equal(errorCode(await told), 'server_stopping');
  assert.deepEqual(await second.ended, { code: 0, signal: null });
  await second.stop();
});

test('a supervisor that violates the protocol is a breach, too', async () => {
  for (const [type, payload] of [
    [controlMessages.configure, encodeJson({})],
    [controlMessages.tokensSet, encodeJson({ tokens: 'all' })],
    [controlMessages.tokensSet, encodeJson({ tokens: [], extra: 1 })],
    [controlMessages.ready, Buffer.alloc(0)],
    [0xff, Buffer.alloc(0)],
  ] as const) {
    const gateway = await startGateway();
    gateway.control.send(type, payload);
    assert.deepEqual(await gateway.ended, { code: 70, signal: null });
    await gateway.stop();
  }
});

test('/health is 200 only while the next chat is served, and HEAD is GET without a body', async () => {
  const gateway = await startGateway();
  const ask = (method: string, target: string, token = false) =>
    rawRequest(gateway.port, requestText(gateway, { method, target, token }));
  try {
    for (const [intake, code] of [
      [{ open: false, ready: false }, 'server_starting'],
      [{ open: true, ready: false }, 'server_starting'],
      [{ open: false, ready: true }, 'intake_closed'],
    ] as const) {
      gateway.control.send(controlMessages.intake, encodeJson(intake));
      await sleep(50);
      const answer = await ask('GET', '/health');
      assert.equal(answer.status, 503);
      assert.equal(errorCode(answer), code);
      assert.ok(Number(answer.headers['retry-after']) > 0);
      assert.equal((await ask('HEAD', '/health')).status, 503);
    }
    gateway.control.send(controlMessages.intake, encodeJson({ open: true, ready: true }));
    await sleep(50);
    for (const [target, token] of [
      ['/health', false],
      ['/', false],
      ['/app.js', false],
      ['/kwyre/status', true],
      ['/v1/models', true],
    ] as const) {
      const [get, head] = [
        await ask('GET', target, token),
        await rawRequest(gateway.port, requestText(gateway, { method: 'HEAD', target, token }), { more: true }),
      ];
      assert.equal(head.status, 200, target);
      assert.equal(head.body, '', target);
      for (const name of ['content-type', 'content-length', 'content-security-policy', 'cache-control'])
        assert.equal(head.headers[name], get.headers[name], `${target} ${name}`);
    }
    assert.equal((await ask('HEAD', '/v1/models')).status, 401);
    assert.equal((await ask('HEAD', '/nothing', true)).status, 404);
  } finally {
    await gateway.stop();
  }
});

/** Sends a request, closes the sending side, and reads until the end. */
function halfClosed(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let heard = '';
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => socket.end(text));
    socket.on('data', (bytes: Buffer) => (heard += bytes.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('end', () => {
      socket.destroy();
      resolve(heard);
    });
  });
}

test('a client that closes its sending side gets its response, at once or later; a client that is gone is detected', async () => {
  const gateway = await startGateway({
    script(turn) {
      if (turn.open.bodyLength === 4) return; // never answered
      setTimeout(
        () => {
          turn.json({ late: true });
        },
        turn.open.bodyLength === 2 ? 0 : 1200,
      );
    },
  });
  try {
    assert.match(
      await halfClosed(gateway.port, requestText(gateway, { target: '/health', token: false })),
      /^HTTP\/1\.1 200 [^]*\{"status":"ok"\}$/,
    );
    assert.match(
      await halfClosed(gateway.port, requestText(gateway, { target: '/health', token: false, version: '1.0' })),
      /^HTTP\/1\.[01] 200 [^]*\{"status":"ok"\}$/,
    );
    assert.match(await halfClosed(gateway.port, post(gateway)), /^HTTP\/1\.1 200 [^]*\{"late":true\}/);
    const late = (version: string) =>
      halfClosed(
        gateway.port,
        requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body: '{ }', version }),
      );
    assert.match(
      await late('1.1'),
      /^(?:HTTP\/1\.1 100 Continue\r\n\r\n)+HTTP\/1\.1 200 [^]*\{"late":true\}/,
      'with interim responses, which HTTP/1.1 clients skip',
    );
    assert.match(await late('1.0'), /^HTTP\/1\.[01] 200 [^]*\{"late":true\}/, 'HTTP/1.0 has none');
    const half = await halfClosed(gateway.port, post(gateway).slice(0, -1));
    assert.match(half, /^HTTP\/1\.1 400/, 'a truncated body is not a request');

    const gone = connect(gateway.port, '127.0.0.1', () =>
      gone.write(requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body: '{  }' })),
    );
    await sleep(150);
    gone.destroy(); // both sides, and without an error for the server to see
    const started = performance.now();
    while (gateway.turns.at(-1)?.aborted !== true && performance.now() - started < 30_000) await sleep(20);
    assert.equal(gateway.turns.at(-1)?.aborted, true, 'its request ends');
  } finally {
    await gateway.stop();
  }
});
