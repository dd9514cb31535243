/**
 * A real server for tests: `./kwyre serve` on a free port with a state folder of its own, as root or as another user.
 * @module
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endWithUs } from './children.ts';
import { asOrdinary } from './identity.ts';

export const root = join(import.meta.dirname, '..', '..');

export type Server = {
  readonly url: string;
  readonly port: number;
  readonly token: string;
  /** The supervisor. */
  readonly pid: number;
  readonly state: string;
  /** What was printed so far. */
  readonly output: () => string;
  /** Living processes of the server by their title: `supervisor`, `gateway`, `engine`, `watchdog`. */
  readonly pids: () => Record<string, number>;
  /** Ends it at once, whatever state it is in. */
  readonly kill: () => void;
  /** Sends SIGTERM and waits for the end. */
  readonly stop: () => Promise<Ending>;
  readonly ended: Promise<Ending>;
};

export type Ending = { readonly code: number | null; readonly signal: string | null };

export type Start = {
  readonly args?: readonly string[];
  /** Run as this user (tests run as root). */
  readonly uid?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** A copy of the repository to run from; the default is this one. */
  readonly repository?: string;
  /** A state folder to use and to leave in place; the default is a fresh one. */
  readonly state?: string;
  /** Tools that may run beside it; what they do to it counts all the same. */
  readonly acknowledge?: readonly string[];
};

/** Processes below `pid`, itself included. */
export function tree(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'latin1');
      const parent = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      continue; // it ended between the listing and the reading
    }
  }
  const found = [pid];
  for (let i = 0; i < found.length; i += 1) found.push(...(children.get(found[i]!) ?? []));
  return found;
}

/** Whether a process lives (a zombie does not). */
export function alive(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}

/** The living processes of the server with this supervisor, by their title. */
export function rolesOf(supervisor: number): Record<string, number> {
  const found: Record<string, number> = { supervisor };
  for (const pid of tree(supervisor)) {
    let title = '';
    try {
      title = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    } catch {
      continue; // it ended between the listing and the reading
    }
    for (const role of ['gateway', 'engine', 'watchdog'])
      if (pid !== supervisor && (title.includes(`kwyre: ${role}`) || title.includes(`/${role}/main`)))
        found[role] = pid;
  }
  return found;
}

/** Waits until `probe` gives something, at most `ms`. */
export async function until<T>(what: string, probe: () => T | undefined | false, ms = 20_000): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const value = probe();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}`);
    await sleep(25);
  }
}

/** Starts `./kwyre serve` without waiting for it to be ready. */
export function launch(start: Start = {}): {
  process: ChildProcess;
  state: string;
  output: () => string;
  ended: Promise<Ending>;
} {
  const home = mkdtempSync(join(tmpdir(), 'kwyre-home-'));
  chmodSync(home, 0o700);
  if (start.uid !== undefined) chownSync(home, start.uid, start.uid);
  const state = start.state ?? join(home, '.local', 'state', 'kwyre');
  const command = [
    join(start.repository ?? root, 'kwyre'),
    'serve',
    '--port',
    '0',
    '--state',
    state,
    ...(start.acknowledge ?? []).flatMap((tool) => ['--acknowledge-tool', tool]),
    ...(start.args ?? []),
  ];
  const [file = '', ...args] = asOrdinary(start.uid, command);
  const child = spawn(file, args, {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: home, ...start.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endWithUs(child);
  let output = '';
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<Ending>((resolve) =>
    child.once('close', (code, signal) => {
      rmSync(home, { recursive: true, force: true });
      resolve({ code, signal });
    }),
  );
  return { process: child, state, output: () => output, ended };
}

/** Starts a server and waits until it is ready; the error of one that ends before has its `exitCode`. */
export async function startServer(start: Start = {}): Promise<Server> {
  const { process: child, state, output, ended } = launch(start);
  let over = false;
  let exitCode: number | null = null;
  void ended.then(({ code }) => {
    over = true;
    exitCode = code;
  });
  const port = await until(
    'the server',
    () => {
      if (over) throw Object.assign(new Error(`the server ended while starting:\n${output()}`), { exitCode });
      const match = /on http:\/\/127\.0\.0\.1:(\d+) \(ready/.exec(output());
      return match === null ? undefined : Number(match[1]);
    },
    60_000,
  );
  const token = readFileSync(join(state, 'token'), 'utf8').trim();
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    token,
    pid: child.pid!,
    state,
    output,
    ended,
    pids: () => rolesOf(child.pid!),
    kill() {
      child.kill('SIGKILL');
    },
    async stop() {
      if (!over) child.kill('SIGTERM');
      else console.log(`the server had ended by itself; its last words:\n${output().slice(-600)}`);
      return await ended;
    },
  };
}

/** One request with the token, as JSON. */
export async function call(
  server: Pick<Server, 'url' | 'token'>,
  path: string,
  body?: unknown,
  init: RequestInit = {},
): Promise<Response> {
  return await fetch(`${server.url}${path}`, {
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    ...init,
    headers: {
      authorization: `Bearer ${server.token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...init.headers,
    },
  });
}
