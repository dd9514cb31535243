/**
 * A client of the running server of the same person: finds it, makes sure that it is ours, and speaks HTTP to it.
 *
 * Promise: the token goes only to a listener on 127.0.0.1 that our own uid (or root) opened: another user who squats
 *          the port after the server ended gets nothing (L1-17, L1-35).
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import { KwyreError } from '../base/errors.ts';
import { accessFolder } from '../layers/2-isolation/record.ts';
import { defaultStateDirectory } from '../state/directory.ts';
import type { Presence } from '../state/presence.ts';
import { presencePath, readPresence } from '../state/presence.ts';
import { readToken } from '../state/tokens.ts';

/** A running server and what opens it. */
export type Server = { readonly presence: Presence; readonly token: string };

const notRunning = (directory: string) => new KwyreError('SERVER_ABSENT', `no server runs with the state folder ${directory}`, 'start one with ./kwyre serve (or npm start)');

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
 * Finds the server of a state folder.
 * @throws `SERVER_ABSENT`, `SERVER_FOREIGN`
 */
export function findServer(directory: string): Server {
  const presence = readPresence(directory);
  const token = readToken(directory);
  if (presence === undefined || token === undefined) throw notRunning(directory);
  const owner = listenerOwner(readFileSync('/proc/self/net/tcp', 'latin1'), presence.port);
  if (owner === undefined) throw notRunning(directory);
  if (owner !== process.getuid?.() && owner !== 0) {
    throw new KwyreError('SERVER_FOREIGN', `port ${presence.port} is held by another user (uid ${owner}); the token was not sent`, 'stop that program or serve on another --port');
  }
  return { presence, token };
}

/** The uid that listens on 127.0.0.1:port by the kernel's table (`/proc/net/tcp`), or `undefined`. */
export function listenerOwner(table: string, port: number): number | undefined {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of table.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === local && fields[3] === '0A') return Number(fields[7]);
  }
  return undefined;
}

/** Sends one request; the caller reads the answer. */
export function send(server: { readonly presence: Pick<Presence, 'port'>; readonly token: string }, method: string, path: string, body?: Buffer, signal?: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: '127.0.0.1',
        port: server.presence.port,
        method,
        path,
        agent: false,
        ...(signal === undefined ? {} : { signal }),
        headers: {
          authorization: `Bearer ${server.token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }),
        },
      },
      resolve,
    );
    call.once('error', (error) => {
      reject(signal?.aborted === true ? error : cut(error));
    });
    call.end(body);
  });
}

/** The server ended, or went away, while it was asked. */
function cut(error: unknown): KwyreError {
  return new KwyreError('SERVER_GONE', `the server ended while it was asked (${(error as NodeJS.ErrnoException).code ?? 'error'})`, 'if it does not come back by itself, start it again: ./kwyre serve');
}

/** No answer of ours is longer. */
const mostAnswerBytes = 64 << 20;

/** The whole body of an answer as JSON. @throws the server's own error as a `KwyreError`; `SERVER_GONE`, `SERVER_ANSWER` */
export async function readJson(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > mostAnswerBytes) throw new KwyreError('SERVER_ANSWER', 'the server answers without an end', 'look at what listens there: ./kwyre doctor');
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof KwyreError ? error : cut(error);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new KwyreError('SERVER_ANSWER', `the server answered ${response.statusCode ?? 0} without JSON`, 'look at ./kwyre status');
  }
  if ((response.statusCode ?? 500) < 400) return value;
  const { error } = (value ?? {}) as { error?: { message?: string; code?: string } };
  throw new KwyreError('SERVER_REFUSED', error?.message ?? `the server answered ${response.statusCode ?? 0}`, error?.code === 'invalid_api_key' ? 'the server was started again: try once more' : '');
}
