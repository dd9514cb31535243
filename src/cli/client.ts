/**
 * The HTTP client of the commands. It finds this user's running server, verifies it, and sends requests to it.
 *
 * Promise: nothing is sent before two checks have passed. The kernel's tables must show that the process in the
 *          presence file is still running, holds the lock of the state folder and owns the listening socket. The server
 *          must then prove, on the connection that will be used, that it knows the token. A program that takes over the
 *          port gets neither token nor text.
 * Limits:  a program of the same user that takes over the state folder can impersonate the server (ADR 0028).
 * Proof:   test/attacks/1-server.test.ts, test/unit/cli/client.test.ts
 * @module
 */
import { loopbackListener } from '../linux/procfs/net-tables.ts';
import { existsSync, readFileSync } from 'node:fs';
import type * as http from 'node:http';
import { KwyreError } from '../base/errors.ts';
import { challengeFor, proofHeaders, proofOf } from '../layers/1-loopback/bearer-token.ts';
import { accessFolder, parseInstalled, recordPath } from '../layers/2-isolation/install/install-record.ts';
import { defaultStateDirectory } from '../state/state-directory.ts';
import { readRootText } from '../state/root-files.ts';
import type { Presence } from '../state/presence.ts';
import { presencePath, readPresence } from '../state/presence.ts';
import { digestToken, principalOf, readToken, removeToken } from '../state/token-store.ts';
import { checkServer } from '../state/server-witness.ts';

const { createHash, randomBytes } = process.getBuiltinModule('node:crypto');
const { Agent, request } = process.getBuiltinModule('node:http');

/** A running server and its token. */
export type Server = { readonly presence: Presence; readonly token: string };

/** The details of a server that a request needs. */
type Address = { readonly presence: Pick<Presence, 'port'>; readonly token: string };

const start = 'start one with ./kwyre serve (or npm start)';
const notRunning = (directory: string) =>
  new KwyreError('SERVER_ABSENT', `no server is running with the state folder ${directory}`, start);

/** Returns the error for a lost connection. */
function connectionLost(error: unknown): KwyreError {
  return new KwyreError(
    'SERVER_GONE',
    `the connection to the server was lost (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
    'if the server does not restart by itself, start it: ./kwyre serve',
  );
}

/** Returns a command's state folder: the one from `--state`, or else the default. */
export function stateDirectory(flag: string | undefined): string {
  return flag ?? defaultStateDirectory(process.env);
}

/** Returns the folder with the presence file: the user's state folder, or else the installed server's access folder. */
export function serverDirectory(flag: string | undefined): string {
  const own = stateDirectory(flag);
  const access = accessFolder(process.getuid?.() ?? 0);
  return flag === undefined && !existsSync(presencePath(own)) && existsSync(access) ? access : own;
}

/**
 * Finds the server of a state folder and verifies it with the kernel's tables. Removes the token of a server that has
 * ended.
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
      `${who} is listening on port ${presence.port}; neither token nor text was sent`,
      `stop that program, or serve on another --port; ${start}`,
    );
  if (directory === accessFolder(uid)) {
    const record = readRootText(recordPath, 'L2_ISOLATE_RECORD');
    const server = record === undefined ? undefined : parseInstalled(record).uid;
    if (owner === undefined || server === undefined) throw notRunning(directory);
    if (owner !== server && owner !== 0)
      throw foreign(owner === uid ? 'another of your programs' : `another user (uid ${owner})`);
  } else {
    const check = checkServer(directory, presence, uid);
    if (check.kind === 'dead') {
      removeStaleToken(directory);
      if (owner === undefined) throw notRunning(directory);
      throw foreign(
        owner === uid
          ? 'another program, not the server, which has ended,'
          : `another user (uid ${owner}), not the server, which has ended,`,
      );
    }
    if (check.kind === 'starting')
      throw new KwyreError(
        'SERVER_STARTING',
        `process ${check.pid} holds the lock of ${directory}: a server that is starting, or another program; ` +
          'neither token nor text was sent',
        `try again in a moment; if that does not help, find out what process ${check.pid} is`,
      );
    if (check.kind !== 'verified')
      throw new KwyreError(
        'SERVER_FOREIGN',
        `${check.reason}; neither token nor text was sent`,
        'run the command where the server runs, or restart the server',
      );
  }
  const token = readToken(directory);
  if (token === undefined) throw notRunning(directory);
  return { presence, token };
}

/** Removes the token of a server that has ended, if the folder can be written. */
function removeStaleToken(directory: string): void {
  try {
    removeToken(directory);
  } catch {
    // The folder cannot be written. The next start replaces the token.
  }
}

/** Waits until a request has a connection. The request itself is not sent before `end` is called. */
async function connectionOf(call: http.ClientRequest): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    call.once('error', reject);
    call.once('socket', resolve);
  });
}

/** Waits for the head of the response. */
async function responseTo(call: http.ClientRequest): Promise<http.IncomingMessage> {
  return await new Promise((resolve, reject) => {
    call.once('error', reject);
    call.once('response', resolve);
  });
}

/**
 * Asks the other end of a new connection to prove that it knows the token.
 * @returns the connection
 * @throws `SERVER_FOREIGN`
 */
async function proveConnection(
  { presence: { port }, token }: Address,
  agent: http.Agent,
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
  const responded = responseTo(call);
  call.end();
  const response = await responded;
  response.resume();
  await new Promise((resolve) => response.once('close', resolve));
  if (!response.complete) throw connectionLost({ code: 'ECONNRESET' });
  if (response.headers[proofHeaders.proof] !== proofOf(createHash('sha256').update(token).digest(), port, nonce)) {
    throw new KwyreError(
      'SERVER_FOREIGN',
      `the program on 127.0.0.1:${port} does not know the token of the server; neither token nor text was sent`,
      'if an earlier version of Kwyre runs there, restart it; otherwise stop that program',
    );
  }
  return connection;
}

/**
 * Verifies that the server responds and knows the token, and sends nothing else. @throws `SERVER_FOREIGN`,
 * `SERVER_GONE`
 */
export async function proveServer(server: Address): Promise<void> {
  const agent = new Agent({ keepAlive: false });
  await reportingErrors(proveConnection(server, agent, undefined), undefined);
}

/**
 * Sends one request on a connection after its other end has proved that it is the server.
 * @returns the response, whose body the caller reads
 * @throws `SERVER_FOREIGN`, `SERVER_GONE`
 */
export async function send(
  server: Address,
  method: string,
  path: string,
  body?: Buffer,
  signal?: AbortSignal,
): Promise<http.IncomingMessage> {
  return await reportingErrors(sendProved(server, method, path, body, signal), signal);
}

async function sendProved(
  server: Address,
  method: string,
  path: string,
  body: Buffer | undefined,
  signal: AbortSignal | undefined,
): Promise<http.IncomingMessage> {
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
  // If the server closed the proved connection, the agent opens another one.
  if ((await connectionOf(call)) !== proved) {
    call.once('error', () => undefined).destroy();
    throw connectionLost({ code: 'ECONNRESET' });
  }
  const responded = responseTo(call);
  call.end(body);
  return await responded;
}

/** Turns connection errors into a `KwyreError`, but leaves an abort as it is. */
async function reportingErrors<T>(result: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await result;
  } catch (error) {
    if (error instanceof KwyreError || signal?.aborted === true) throw error;
    throw connectionLost(error);
  }
}

/** Remedies by the server's error code. */
const remedies: Readonly<Record<string, string>> = {
  invalid_api_key: 'the server was restarted: run the command again',
  server_busy: 'try again in a moment',
  server_starting: 'try again in a moment',
  engine_restarting: 'try again in a moment; the conversation so far is lost',
  intake_closed: './kwyre status names the tool; stop it, or restart the server with --acknowledge-tool NAME',
  session_not_found: './kwyre wipe lists the conversations',
};

/** The maximum size of a response; the server never sends more. */
const maxAnswerBytes = 64 << 20;

/**
 * Reads the whole body of a response as JSON.
 * @throws the server's error as `SERVER_REFUSED`; `SERVER_GONE`, `SERVER_ANSWER`
 */
export async function readJson(response: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxAnswerBytes)
        throw new KwyreError(
          'SERVER_ANSWER',
          'the response of the server exceeds 64 MiB',
          'check with ./kwyre status that the server is Kwyre',
        );
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof KwyreError ? error : connectionLost(error);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new KwyreError(
      'SERVER_ANSWER',
      `the server answered ${response.statusCode ?? 0} without JSON`,
      'check ./kwyre status',
    );
  }
  if ((response.statusCode ?? 500) < 400) return value;
  const { error } = (value ?? {}) as { error?: { message?: string; code?: string } };
  throw new KwyreError(
    'SERVER_REFUSED',
    error?.message ?? `the server answered ${response.statusCode ?? 0}`,
    remedies[error?.code ?? ''] ?? 'check ./kwyre status',
  );
}
