/**
 * A command that asks a server which ends meanwhile, or which is none of ours.
 * @module
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { KwyreError } from '../../../src/base/errors.ts';
import { readJson, send } from '../../../src/cli/client.ts';
import { TokenTable } from '../../../src/layers/1-loopback/bearer-token.ts';
import { digestToken, principalOf } from '../../../src/state/token-store.ts';
import { parseStatusAnswer } from '../../../src/cli/status.ts';

const ring = new TokenTable([{ digest: digestToken('kw-x'), principal: principalOf(digestToken('kw-x')) }]);

/** Asks a listener that knows the token, and does this with a connection once the request has come. */
async function ask(t: TestContext, answer: (socket: Socket) => void): Promise<unknown> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (bytes: Buffer) => {
      const challenge = /kwyre-challenge: (\S+)/i.exec(bytes.toString('latin1'))?.[1] ?? '';
      const proof = ring.prove(['Kwyre-Challenge', challenge], (server.address() as AddressInfo).port) ?? '';
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKwyre-Proof: ${proof}\r\n\r\n`);
      socket.once('data', () => {
        answer(socket);
      });
    });
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const to = { presence: { port: (server.address() as AddressInfo).port }, token: 'kw-x' } as Parameters<
    typeof send
  >[0];
  return parseStatusAnswer(await readJson(await send(to, 'GET', '/kwyre/status')));
}
const json = (body: string, length = body.length) =>
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`;
const coded = (code: string) => (error: unknown) =>
  error instanceof KwyreError && error.code === code && error.remedy !== '';

test('the server ends before, while and instead of answering: an error that says so, and no trace', async (t) => {
  for (const end of [
    (socket: Socket) => socket.destroy(),
    (socket: Socket) => socket.resetAndDestroy(),
    (socket: Socket) => socket.end(json('{"layers":[', 500)),
  ])
    await assert.rejects(ask(t, end), coded('SERVER_GONE'));
  const closed = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => closed.once('listening', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  await assert.rejects(send({ presence: { port }, token: 'kw-x' }, 'GET', '/kwyre/status'), coded('SERVER_GONE'));
});

test('an answer that is no status is refused', async (t) => {
  for (const body of [
    'null',
    '7',
    '{}',
    '[]',
    '{"layers":{}}',
    '{"layers":[null],"model":{"name":"x"}}',
    '{"layers":[{"name":"x"}],"model":{"name":"x"}}',
    '{"layers":[],"model":{}}',
    'nothing',
  ])
    await assert.rejects(
      ask(t, (socket) => socket.end(json(body))),
      coded('SERVER_ANSWER'),
      body,
    );
});
