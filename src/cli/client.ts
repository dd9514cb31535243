/**
 * A client of the running server of the same person: finds it, makes sure that it is ours, and speaks HTTP to it.
 *
 * Promise: nothing is sent before two things are seen. The kernel: the process that wrote the presence file holds the
 *          lock of the state folder, is the same one still, and the socket on the port is its own. The server: it
 *          proves on the very connection that it knows the token. So whoever takes the port after the server ended gets
 *          neither token nor text.
 * Limits:  a program of the same user that takes over the state folder itself can be what it likes (ADR 0028).
 * Proof:   test/attacks/1-server.test.ts, test/unit/cli/client.test.ts
 * @module
 */
import { loopbackListener } from '../linux/procfs/net-tables.ts';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:http';
import { KwyreError } from '../base/errors.ts';
import { challengeFor, proofHeaders, proofOf } from '../layers/1-loopback/bearer-token.ts';
import { accessFolder, parseInstalled, recordPath } from '../layers/2-isolation/install/install-record.ts';
import { defaultStateDirectory } from '../state/state-directory.ts';
import { readRootText } from '../state/root-files.ts';
import type { Presence } from '../state/presence.ts';
import { presencePath, readPresence } from '../state/presence.ts';
import { digestToken, principalOf, readToken, removeToken } from '../state/token-store.ts';
import { seeServer } from '../state/server-witness.ts';

/** A running server and what opens it. */
export type Server = { readonly presence: Presence; readonly token: string };

/** What is needed to speak to one. */
export type Address = { readonly presence: Pick<Presence, 'port'>; readonly token: string };

const start = 'start one with ./kwyre serve (or npm start)';
const notRunning = (directory: string) =>
  new KwyreError('SERVER_ABSENT', `no server runs with the state folder ${directory}`, start);

/** The server ended, or went away, while it was asked. */
function cut(error: unknown): KwyreError {
  return new KwyreError(
    'SERVER_GONE',
    `the server ended while it was asked (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
    'if it does not come back by itself, start it again: ./kwyre serve',
  );
}

/** The state folder that a command means. */
export function stateDirectory(flag: string | undefined): string {
  return flag ?? defaultStateDirectory(process.env);
}

/** The folder that tells where a running server is: the person's own, else their access to the installed one. */
export function serverDirectory(flag: string | undefined): string {
  const own = stateDirectory(flag);
  const access = accessFolder(process.getuid?.() ?? 0);
  return flag === undefined && !existsSync(presencePath(own)) && existsSync(access) ? access : own;
}

/**
 * Finds the server of a state folder, by what the kernel says of it. The token of a server that is dead is taken away.
 * @throws `SERVER_ABSENT`, `SERVER_FOREIGN`, `SERVER_STARTING`
 */
export function findServer(directory: string): Server {
  const uid = process.getuid?.() ?? 0;
  const presence = readPresence(directory);
  if (presence === undefined) throw notRunning(directory);
  const owner = loopbackListener(presence.port, readFileSync('/proc/self/net/tcp', 'latin1'))?.uid;
  const foreign = (who: string) =>
    new KwyreError(
      'SERVER_FOREIGN',
      `port ${presence.port} is held by ${who}; neither token nor text was sent`,
      `stop that program or serve on another --port; ${start}`,
    );
  if (directory === accessFolder(uid)) {
    const record = readRootText(recordPath, 'L2_ISOLATE_RECORD');
    const server = record === undefined ? undefined : parseInstalled(record).uid;
    if (owner === undefined || server === undefined) throw notRunning(directory);
    if (owner !== server && owner !== 0)
      throw foreign(owner === uid ? 'a program of yours' : `another user (uid ${owner})`);
  } else {
    const seen = seeServer(directory, presence, uid);
    if (seen.kind === 'dead') {
      forgetToken(directory);
      if (owner === undefined) throw notRunning(directory);
      throw foreign(
        owner === uid ? 'another program, the server has ended' : `another user (uid ${owner}), the server has ended`,
      );
    }
    if (seen.kind === 'starting')
      throw new KwyreError(
        'SERVER_STARTING',
        `process ${seen.pid} holds the lock of ${directory}: a server that is starting, or another program; neither token nor text was sent`,
        `try again in a moment; if it stays so, look at what process ${seen.pid} is`,
      );
    if (seen.kind !== 'ours')
      throw new KwyreError(
        'SERVER_FOREIGN',
        `${seen.what}; neither token nor text was sent`,
        'run this where the server runs; or end the server and start it again',
      );
  }
  const token = readToken(directory);
  if (token === undefined) throw notRunning(directory);
  return { presence, token };
}

/** A token that opens nothing any more is not left for others to find. */
function forgetToken(directory: string): void {
  try {
    removeToken(directory);
  } catch {
    // A folder that cannot be written: the next start takes it away.
  }
}

/** The connection of a request, once it has one; the request is not sent before `end`. */
async function connectionOf(call: ClientRequest): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    call.once('error', reject);
    call.once('socket', resolve);
  });
}

/** The head of the answer to a request that has been ended. */
async function answerTo(call: ClientRequest): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    call.once('error', reject);
    call.once('response', resolve);
  });
}

/**
 * Asks whoever is at the other end for a proof that it knows the token; returns the connection. @throws
 * `SERVER_FOREIGN`
 */
async function proveConnection(
  { presence: { port }, token }: Address,
  agent: Agent,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const digest = digestToken(token);
  const nonce = randomBytes(32).toString('hex');
  const call = request({
    host: '127.0.0.1',
    port,
    path: '/health',
    agent,
    ...(signal === undefined ? {} : { signal }),
    headers: { [proofHeaders.challenge]: challengeFor(principalOf(digest), nonce) },
  });
  const connection = await connectionOf(call);
  const answered = answerTo(call);
  call.end();
  const response = await answered;
  response.resume();
  await new Promise((resolve) => response.once('close', resolve));
  if (!response.complete) throw cut({ code: 'ECONNRESET' });
  if (response.headers[proofHeaders.proof] !== proofOf(createHash('sha256').update(token).digest(), port, nonce)) {
    throw new KwyreError(
      'SERVER_FOREIGN',
      `what listens on 127.0.0.1:${port} does not know the token of the server; neither token nor text was sent`,
      'if the server was started by an earlier version, start it again; else stop that program',
    );
  }
  return connection;
}

/**
 * Makes sure that the server answers and knows the token, and sends nothing else. @throws `SERVER_FOREIGN`,
 * `SERVER_GONE`
 */
export async function proveServer(server: Address): Promise<void> {
  const agent = new Agent({ keepAlive: false });
  await reporting(proveConnection(server, agent, undefined), undefined);
}

/**
 * Sends one request on a connection whose other end has proved itself; the caller reads the answer. @throws
 * `SERVER_FOREIGN`, `SERVER_GONE`
 */
export async function send(
  server: Address,
  method: string,
  path: string,
  body?: Buffer,
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  return await reporting(sendProved(server, method, path, body, signal), signal);
}

async function sendProved(
  server: Address,
  method: string,
  path: string,
  body: Buffer | undefined,
  signal: AbortSignal | undefined,
): Promise<IncomingMessage> {
  const {
    presence: { port },
    token,
  } = server;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const proved = await proveConnection(server, agent, signal);
  const call = request({
    host: '127.0.0.1',
    port,
    method,
    path,
    agent,
    ...(signal === undefined ? {} : { signal }),
    headers: {
      authorization: `Bearer ${token}`,
      connection: 'close',
      ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }),
    },
  });
  // The agent opens another connection where the server closed the proved one.
  if ((await connectionOf(call)) !== proved) {
    call.once('error', () => undefined).destroy();
    throw cut({ code: 'ECONNRESET' });
  }
  const answered = answerTo(call);
  call.end(body);
  return await answered;
}

/** Errors of a connection as one that a person can read; an order to stop stays what it is. */
async function reporting<T>(asked: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof KwyreError || signal?.aborted === true) throw error;
    throw cut(error);
  }
}

/** What a person can do about a refusal, by its code. */
const remedies: Readonly<Record<string, string>> = {
  invalid_api_key: 'the server was started again: try once more',
  server_busy: 'try again in a moment',
  server_starting: 'try again in a moment',
  engine_restarting: 'try again in a moment; what was said before is gone',
  intake_closed: './kwyre status names what was seen; end that, or start again with --acknowledge-tool',
  session_not_found: './kwyre wipe lists what is kept',
};

/** No answer of ours is longer. */
const mostAnswerBytes = 64 << 20;

/**
 * The whole body of an answer as JSON. @throws the server's own error as a `KwyreError`; `SERVER_GONE`, `SERVER_ANSWER`
 */
export async function readJson(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > mostAnswerBytes)
        throw new KwyreError(
          'SERVER_ANSWER',
          'the server answers without an end',
          'look at what listens there: ./kwyre doctor',
        );
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof KwyreError ? error : cut(error);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new KwyreError(
      'SERVER_ANSWER',
      `the server answered ${response.statusCode ?? 0} without JSON`,
      'look at ./kwyre status',
    );
  }
  if ((response.statusCode ?? 500) < 400) return value;
  const { error } = (value ?? {}) as { error?: { message?: string; code?: string } };
  throw new KwyreError(
    'SERVER_REFUSED',
    error?.message ?? `the server answered ${response.statusCode ?? 0}`,
    remedies[error?.code ?? ''] ?? './kwyre status shows how it is',
  );
}
