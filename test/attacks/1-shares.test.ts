/**
 * Layer 1: clients that take all there is to take, against a real gateway process: others are served all the same.
 * @module
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { test } from 'node:test';
import { relayLimits } from '../../src/gateway/relay.ts';
import { limits } from '../../src/gateway/http-server.ts';
import { reservedSlotLimits } from '../../src/gateway/request-quota.ts';
import { mediaTypes } from '../../src/wire/data-payloads.ts';
import { engineRoutes } from '../../src/wire/messages.ts';
import type { Gateway } from '../support/gateway.ts';
import { errorCode, principalOf, rawRequest, requestText, sleep, startGateway } from '../support/gateway.ts';

const greedy = 'kw-greedy';
const modest = 'kw-modest';
const chat = (gateway: Pick<Gateway, 'port'>, token: string, body = '{}') =>
  requestText({ port: gateway.port, token }, { method: 'POST', target: '/v1/chat/completions', body });

/** A connection that says `text` and reads what comes. */
function open(gateway: Pick<Gateway, 'port'>, text: string): Socket & { heard: string; over: boolean } {
  const socket = Object.assign(
    connect(gateway.port, '127.0.0.1', () => socket.write(text)),
    { heard: '', over: false },
  );
  socket.on('data', (bytes: Buffer) => (socket.heard += bytes.toString('latin1')));
  socket.on('error', () => undefined);
  socket.on('close', () => (socket.over = true));
  return socket;
}

/** Answers everything but the chats and wipes of the greedy one. */
const gateways = async (use: (gateway: Gateway, sockets: Socket[]) => Promise<void>): Promise<void> => {
  const gateway = await startGateway({
    keepBodies: false,
    script(turn) {
      if (turn.open.principal.toString('hex') !== principalOf(greedy)) turn.json({ route: turn.open.route });
    },
  });
  gateway.setTokens([gateway.token, greedy, modest], gateway.token);
  await sleep(50);
  const sockets: Socket[] = [];
  try {
    await use(gateway, sockets);
    assert.equal(gateway.process.exitCode, null);
  } finally {
    for (const socket of sockets) socket.destroy();
    await gateway.stop();
  }
};

test('L1-27 kept connections of strangers, asked /health again and again, keep nobody out', async () => {
  await gateways(async (gateway, sockets) => {
    const health = requestText(gateway, { target: '/health', token: false });
    const keep = (): void => {
      const socket = open(gateway, health);
      sockets.push(socket);
      socket.on('close', () => {
        if (!over) setTimeout(keep, 5);
      });
    };
    let over = false;
    for (let i = 0; i < limits.connections + 60; i += 1) keep();
    const again = setInterval(() => {
      for (const socket of sockets) if (!socket.destroyed && socket.writable) socket.write(health);
    }, 200);
    await sleep(500);
    const statuses: number[] = [];
    for (let i = 0; i < 30; i += 1) statuses.push((await rawRequest(gateway.port, requestText(gateway))).status);
    over = true;
    clearInterval(again);
    assert.deepEqual(
      statuses.filter((status) => status !== 200),
      [],
      'every request of the owner is answered',
    );
  });
});

test('L1-27 kept connections of one token keep nobody out, and are the ones that go', async () => {
  await gateways(async (gateway, sockets) => {
    const kept = open(gateway, requestText(gateway));
    sockets.push(kept);
    for (let i = 0; i < limits.connections; i += 1)
      sockets.push(open(gateway, requestText({ port: gateway.port, token: modest })));
    await sleep(600);
    for (let i = 0; i < 10; i += 1) assert.equal((await rawRequest(gateway.port, requestText(gateway))).status, 200);
    assert.equal(kept.over, false, "the person's own kept connection stays");
  });
});

test('L1-27 half-sent bodies of one token leave the person, other tokens and wiping served', async () => {
  await gateways(async (gateway, sockets) => {
    const halfSent = `${requestText({ port: gateway.port, token: greedy }, { method: 'POST', target: '/v1/chat/completions', headers: ['Content-Type: application/json', 'Content-Length: 1048576'] })}{`;
    const held = Array.from({ length: relayLimits.requests }, () => open(gateway, halfSent));
    sockets.push(...held);
    await sleep(500);
    assert.ok(
      held.every((socket) => socket.heard === ''),
      'all of them are open',
    );
    assert.equal(
      errorCode(await rawRequest(gateway.port, chat(gateway, greedy))),
      'server_busy',
      'more for the same token there is not',
    );
    const wipe = requestText({ port: gateway.port, token: greedy }, { method: 'DELETE', target: '/kwyre/sessions' });
    sockets.push(open(gateway, wipe));
    await sleep(200);
    const last = gateway.turns.at(-1)?.open;
    assert.equal(last?.route, engineRoutes.sessionsDelete, 'but it may still wipe what it has');
    assert.equal(last.principal.toString('hex'), principalOf(greedy));
    assert.equal((await rawRequest(gateway.port, chat(gateway, gateway.token))).status, 200, 'the person');
    for (let i = 0; i < 3; i += 1)
      assert.equal((await rawRequest(gateway.port, chat(gateway, modest))).status, 200, 'another token');
    assert.equal(
      held.filter((socket) => /^HTTP\/1\.1 503/.test(socket.heard)).length,
      1,
      'for whom one of the greedy requests went',
    );
    for (const [method, target] of [
      ['DELETE', '/kwyre/sessions'],
      ['GET', '/kwyre/sessions'],
      ['GET', '/kwyre/status'],
    ] as const) {
      assert.equal(
        (await rawRequest(gateway.port, requestText(gateway, { method, target }))).status,
        200,
        `${method} ${target}`,
      );
    }
  });
});

test("L1-27 a token that takes every place that is kept for wiping takes none of the person's", async () => {
  await gateways(async (gateway, sockets) => {
    const wipe = (token: string) =>
      requestText({ port: gateway.port, token }, { method: 'DELETE', target: '/kwyre/sessions' });
    for (let i = 0; i < reservedSlotLimits.each; i += 1) sockets.push(open(gateway, wipe(greedy)));
    await sleep(200);
    assert.equal(errorCode(await rawRequest(gateway.port, wipe(greedy))), 'server_busy');
    assert.equal((await rawRequest(gateway.port, wipe(modest))).status, 200);
    assert.equal((await rawRequest(gateway.port, wipe(gateway.token))).status, 200);
    assert.equal(gateway.turns.at(-1)?.open.route, engineRoutes.sessionsDelete);
  });
});

test('L1-20 revoking a token ends what is open under it: half-sent, waiting, streaming and kept', async () => {
  const gateway = await startGateway({
    script(turn) {
      if (turn.open.bodyLength === 3) {
        turn.head(200, mediaTypes.eventStream);
        turn.send('data: 1\n\n');
      } else if (turn.open.bodyLength === 0) turn.json({});
    },
  });
  try {
    gateway.setTokens([gateway.token, greedy], gateway.token);
    await sleep(50);
    const halfSent = open(
      gateway,
      `${requestText({ port: gateway.port, token: greedy }, { method: 'POST', target: '/v1/chat/completions', headers: ['Content-Type: application/json', 'Content-Length: 999'] })}{`,
    );
    const waiting = open(gateway, chat(gateway, greedy));
    const streaming = open(gateway, chat(gateway, greedy, '{ }'));
    const kept = open(gateway, requestText({ port: gateway.port, token: greedy }));
    const own = open(gateway, chat(gateway, gateway.token));
    await sleep(200);
    assert.match(streaming.heard, /data: 1/);
    gateway.setTokens([gateway.token], gateway.token);
    for (let i = 0; i < 100 && [halfSent, waiting, streaming, kept].some(({ over }) => !over); i += 1) await sleep(25);
    assert.deepEqual(
      [halfSent, waiting, streaming, kept].map(({ over }) => over),
      [true, true, true, true],
      'every connection of it ends',
    );
    for (const told of [halfSent, waiting]) assert.match(told.heard, /^HTTP\/1\.1 401 [^]*invalid_api_key/);
    assert.match(streaming.heard, /"code":"invalid_api_key"/);
    assert.deepEqual(
      gateway.turns
        .filter(
          ({ open: { principal, route } }) =>
            principal.toString('hex') === principalOf(greedy) && route === engineRoutes.chatCompletions,
        )
        .map(({ aborted }) => aborted),
      [true, true, true],
      'the engine lets each go',
    );
    assert.equal(own.over, false, "another's goes on");
    own.destroy();
  } finally {
    await gateway.stop();
  }
});
