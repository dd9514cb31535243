/**
 * Runs an entry of a test's own in the real jail of a role, with the descriptors that the role would have.
 * @module
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bindLoopback } from '../../src/layers/1-loopback/listener.ts';
import { callByName } from '../../src/linux/syscalls.ts';
import { families, makeSocket, makeSocketPair } from '../../src/linux/sockets/socket.ts';
import type { Role } from '../../src/policy/roles.ts';
import { root } from './server.ts';
import { stripped, strippedRoot } from './stripped.ts';

const setFlags = 4;
const nonBlocking = 0x800;

export type Verdict = { readonly answer: string; readonly signal: string | null; readonly code: number | null };

/** What an attempt got: its answer, or the signal that ended it. */
export async function attack(
  role: Role,
  mode: 'started' | 'sealed',
  attempt: string,
  uid?: number,
  tasks?: number,
): Promise<Verdict> {
  const control = makeSocketPair();
  const data = makeSocketPair();
  const held = role === 'gateway' ? bindLoopback(0).fd : openSync('/dev/null', 'r');
  // So that a hostile gateway's accept4 is answered; and two descriptors that must not come through.
  if (role === 'gateway') callByName('fcntl', held, setFlags, nonBlocking);
  const more = [openSync(import.meta.filename, 'r'), makeSocket(families.inet)];
  const entry = stripped('test/attacks/entries/hostile.ts');
  const input = {
    readable: [strippedRoot(), join(root, 'node_modules'), join(root, 'package.json')],
    accepted: [],
    ...(uid === undefined ? {} : { uid, gid: uid }),
    ...(tasks === undefined ? {} : { tasks }),
  };
  const command = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    stripped('src/jail/main.ts'),
    role,
    entry,
    JSON.stringify(input),
  ];
  const child = spawn(command[0]!, command.slice(1), {
    env: {},
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe', control[1], data[1], held, 'ignore', 'ignore', 'ignore', ...more],
  });
  let noise = '';
  child.stderr!.on('data', (chunk: Buffer) => (noise += chunk.toString()));
  writeSync(data[0], `${mode} ${attempt}\n`);
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once('exit', (code, signal) => resolve({ code, signal })),
  );
  for (const fd of [control[1], data[1], held, ...more]) closeSync(fd);
  const ending = await Promise.race([ended, sleep(15_000).then(() => undefined)]);
  if (ending === undefined) {
    child.kill('SIGKILL');
    throw new Error(`${role} ${mode} ${attempt} hangs: ${noise}`);
  }
  const bytes = Buffer.alloc(256);
  let answer = '';
  try {
    answer = bytes.toString('utf8', 0, readSync(data[0], bytes)).trim();
  } catch {
    answer = '';
  }
  for (const fd of [control[0], data[0]]) closeSync(fd);
  return { answer: answer === '' && ending.signal === null ? `no answer: ${noise.slice(0, 300)}` : answer, ...ending };
}
