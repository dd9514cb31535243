/**
 * A command's own client against programs that only look like the server: what they hear before they have proved
 * anything.
 * @module
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { KwyreError } from '../../../src/base/errors.ts';
import { proveServer, readJson, send } from '../../../src/cli/client.ts';
import { TokenTable } from '../../../src/layers/1-loopback/bearer-token.ts';
import { digestToken, makeToken, principalOf } from '../../../src/state/token-store.ts';

const token = makeToken();
const prompt = 'the-words-of-a-person';
const ring = new TokenTable([{ digest: digestToken(token), principal: principalOf(digestToken(token)) }]);

type Fake = { readonly port: number; readonly heard: () => string; readonly close: () => Promise<void> };

/** A server on a free port that keeps every byte it hears. */
async function fake(answer: (request: IncomingMessage, response: ServerResponse, port: number) => void): Promise<Fake> {
  let heard = '';
  const server = createServer((request, response) => {
    answer(request, response, (server.address() as AddressInfo).port);
  }).listen(0, '127.0.0.1');
  server.on('connection', (socket) => socket.on('data', (bytes: Buffer) => (heard += bytes.toString('latin1'))));
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    heard: () => heard,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const ask = (port: number) => send({ presence: { port }, token }, 'POST', '/v1/chat/completions', Buffer.from(prompt));
const code = (error: unknown) => (error as KwyreError).code;

/** What a fake can do about the proof. */
const tricks: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse, port: number) => void>> = {
  'says nothing of it': (_, response) => response.end('{"status":"ok"}'),
  'sends the challenge back': (request, response) =>
    response.setHeader('kwyre-proof', String(request.headers['kwyre-challenge'])).end(),
  'knows another token': (request, response, port) =>
    response
      .setHeader(
        'kwyre-proof',
        new TokenTable([
          { digest: digestToken('x'), principal: String(request.headers['kwyre-challenge']).slice(0, 32) },
        ]).prove(request.rawHeaders, port)!,
      )
      .end(),
  'passes on what the server on another port said': (request, response, port) =>
    response.setHeader('kwyre-proof', ring.prove(request.rawHeaders, port === 1 ? 2 : 1)!).end(),
  refuses: (_, response) => response.writeHead(401).end(),
};

for (const [what, answer] of Object.entries(tricks)) {
  test(`a fake that ${what} hears neither token nor text`, async () => {
    const other = await fake(answer);
    try {
      await assert.rejects(
        ask(other.port),
        (error) => code(error) === 'SERVER_FOREIGN' && (error as KwyreError).remedy !== '',
      );
      await assert.rejects(
        proveServer({ presence: { port: other.port }, token }),
        (error) => code(error) === 'SERVER_FOREIGN',
      );
      assert.ok(
        other.heard().includes('kwyre-challenge') &&
          !other.heard().includes(token) &&
          !other.heard().includes(prompt) &&
          !other.heard().includes(createHash('sha256').update(token).digest('hex')),
      );
    } finally {
      await other.close();
    }
  });
}

test('one that proves itself is asked on the same connection, and on no other', async () => {
  const honest = await fake((request, response, port) => {
    const proof = ring.prove(request.rawHeaders, port);
    if (proof !== undefined) response.setHeader('kwyre-proof', proof);
    request.resume();
    response.end('{"good":true}');
  });
  const closing = await fake((request, response, port) => {
    response
      .setHeader('kwyre-proof', ring.prove(request.rawHeaders, port) ?? '')
      .setHeader('connection', 'close')
      .end();
  });
  try {
    assert.deepEqual(await readJson(await ask(honest.port)), { good: true });
    assert.ok(honest.heard().includes(token) && honest.heard().includes(prompt));
    await assert.rejects(
      ask(closing.port),
      (error) => code(error) === 'SERVER_GONE',
      'a fake could be at the next connection',
    );
    assert.ok(!closing.heard().includes(token));
  } finally {
    await Promise.all([honest.close(), closing.close()]);
  }
  await assert.rejects(
    ask(closing.port),
    (error) => code(error) === 'SERVER_GONE' && (error as KwyreError).remedy !== '',
    'nobody there',
  );
});

test('an answer to a challenge tells nothing to whoever has no token', () => {
  const nonce = 'a'.repeat(64);
  const challenge = (principal: string, more: string[] = []) =>
    ring.prove(['Kwyre-Challenge', `${principal}-${nonce}`, ...more], 80);
  const known = challenge(principalOf(digestToken(token)));
  const unknown = challenge('b'.repeat(32));
  assert.match(known!, /^[0-9a-f]{64}$/);
  assert.match(unknown!, /^[0-9a-f]{64}$/);
  assert.notEqual(known, unknown);
  for (const none of [
    [],
    ['Kwyre-Challenge', nonce],
    ['Kwyre-Challenge', `${'b'.repeat(32)}-${nonce}x`],
    ['Kwyre-Challenge', `${'b'.repeat(32)}-${nonce}`, 'kwyre-challenge', 'x'],
  ])
    assert.equal(ring.prove(none, 80), undefined);
});
