/**
 * Attacker code in the watchdog's place, in its real jail and seal, as root starts it and as an ordinary user does.
 *
 * It is the one role without Landlock: what its filter alone refuses is tried here.
 * Root tries both; anyone else tries it as who runs the tests.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeSocketPair } from '../../src/linux/sockets/socket.ts';
import { testUid, transientIdentity } from '../support/identity.ts';
import { alive } from '../support/server.ts';
import { asOrdinary } from '../support/identity.ts';
import { ordinaryUid } from '../support/watchdog.ts';
import { stripped } from '../support/stripped.ts';

function answerOf(heard: string, noise: string): string {
  return /ANSWER (.*)\n/.exec(heard)?.[1] ?? `no answer: ${noise.slice(0, 500)}`;
}

/** The attempt's answer, or the signal that ended it. */
async function attempt(name: string, path: string, victim: number, uid: number | undefined): Promise<string> {
  const control = makeSocketPair();
  const input = { readable: [], accepted: [], ...(uid === undefined ? transientIdentity(0) : {}) };
  const node = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    stripped('src/jail/main.ts'),
    'watchdog',
    stripped('test/attacks/entries/hostile-watchdog.ts'),
    JSON.stringify(input),
  ];
  const [file = '', ...args] = asOrdinary(uid, node);
  writeSync(control[0], `${name}|${path}|${victim}\n`);
  const child = spawn(file, args, {
    env: { PATH: process.env['PATH'] },
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe', control[1]],
  });
  let noise = '';
  child.stderr?.on('data', (chunk: Buffer) => (noise += chunk.toString()));
  closeSync(control[1]);
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  const signal = await new Promise<string | null>((resolve) =>
    child.once('close', (_code, by) => {
      resolve(by);
    }),
  );
  clearTimeout(timer);
  let heard = '';
  const bytes = Buffer.alloc(64 * 1024);
  try {
    for (let taken = readSync(control[0], bytes); taken > 0; taken = readSync(control[0], bytes))
      heard += bytes.toString('latin1', 0, taken);
  } catch {
    closeSync(control[0]); // the other end is gone
    return signal ?? answerOf(heard, noise);
  }
  closeSync(control[0]);
  return signal ?? answerOf(heard, noise);
}

const killed = 'SIGSYS';
const rows: readonly (readonly [string, string])[] = [
  ['read /proc', 'done'],
  ['write', killed],
  ['append', killed],
  ['open for both', killed],
  ['write to a process', killed],
  ['truncate', killed],
  ['unlink', 'refused EPERM'],
  ['rename', 'refused EPERM'],
  ['link', 'refused EPERM'],
  ['folder', 'refused EPERM'],
  ['mode', 'refused EPERM'],
  ['signal', 'refused EPERM'],
  ['program', 'refused'],
  ['other program', killed],
  ['connect', killed],
  ['ptrace', killed],
  ['packet socket', killed],
  ['netlink', killed],
  ['fork', killed],
  ['namespace', killed],
  ['L2-04 udp', killed],
  ['L2-04 raw', killed],
  ['L2-04 vsock', killed],
  ['L2-06 unix', killed],
  ['L2-07 memory file', killed],
  ['L2-08 pass a descriptor', 'refused EPERM'],
  ['L2-08 take a descriptor', 'refused EPERM'],
  ['ring', 'refused ENOSYS'],
  ["read another's memory", killed],
  ['take its descriptors', killed],
  ['mount', killed],
  ['bpf', killed],
  ['perf', killed],
  ['keys', killed],
  ['become root', 'refused EPERM'],
  ['become dumpable', killed],
  ['limits of others', 'refused EPERM'],
  ['signals of a descriptor', killed],
];

const asRoot = process.getuid?.() === 0;
const me = process.getuid?.() ?? 0;
for (const uid of asRoot ? [undefined, ordinaryUid] : [me]) {
  for (const [name, expected] of rows) {
    test(`watchdog under an attacker, ${uid === undefined ? 'started by root' : 'of an ordinary user'}: ${name} -> ${expected}`, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'kwyre-hostile-'));
      t.after(() => {
        rmSync(folder, { recursive: true });
      });
      const owner = uid ?? testUid;
      const path = join(folder, 'file');
      writeFileSync(path, 'before');
      // Its own files, so that nothing but the filter stands between.
      for (const one of [folder, path]) {
        chmodSync(one, 0o700);
        if (asRoot) chownSync(one, owner, owner);
      }
      const command = asOrdinary(owner, ['sleep', '30']);
      const victim = spawn(command[0]!, command.slice(1), { stdio: 'ignore' });
      t.after(() => victim.kill('SIGKILL'));
      assert.equal(await attempt(name, path, victim.pid ?? 0, uid), expected);
      assert.deepEqual(readdirSync(folder), ['file']);
      assert.equal(readFileSync(path, 'utf8'), 'before');
      assert.ok(existsSync(path) && alive(victim.pid ?? 0));
    });
  }
}
