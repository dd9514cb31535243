/**
 * Real debuggers on a watched process: seen by what they do, whatever they are called.
 * Needs root: debuggers and watched processes of other users.
 * @module
 */
import assert from 'node:assert/strict';
import { copyFileSync, chmodSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { asUser } from '../support/identity.ts';
import { tree, until } from '../support/server.ts';
import type { Watched } from '../support/watchdog.ts';
import { ordinaryUid, start, startWatched, use } from '../support/watchdog.ts';
import { stripped } from '../support/stripped.ts';

/** The violation comes, by this detector; two detections and never more were needed. */
async function confirmed(watched: Watched, detector: string): Promise<void> {
  const violation = await watched.next('violation');
  assert.equal(violation.detector, detector);
  assert.equal(await watched.ended, 16);
  const levels = watched.said.filter((one) => one.type === 'level').map((one) => `${one.level} ${one.count}`);
  assert.deepEqual(levels.slice(-2), ['detected 2', 'confirmed 4']);
}

for (const [who, uid] of [
  ['root', undefined],
  ['an ordinary user', ordinaryUid],
] as const) {
  test(`L6-01 gdb under another name, attached as root to a server of ${who}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'kwyre-renamed-'));
    t.after(() => {
      rmSync(folder, { recursive: true });
    });
    const renamed = join(folder, 'notepad');
    copyFileSync(realpathSync('/usr/bin/gdb'), renamed);
    chmodSync(renamed, 0o755);
    const watched = use(t, await startWatched(uid === undefined ? {} : { uid }));
    const gdb = use(t, start([renamed, '-q', '-nx', '-p', String(watched.target)]));
    await confirmed(watched, 'tracer');
    const finding = await watched.next('finding', (one) => one.detector === 'tracer');
    assert.equal(finding.pid, gdb.pid);
    assert.equal(finding.uid, 0);
    assert.equal(finding.name, 'notepad');
  });
}

test('L6-05 a tracer on one thread of the engine that is not its first', async (t) => {
  const watched = use(t, await startWatched());
  const other = readdirSync(`/proc/${watched.target}/task`).find((tid) => Number(tid) !== watched.target) ?? '';
  const strace = use(t, start(['strace', '-o', '/dev/null', '-p', other]));
  await confirmed(watched, 'tracer');
  const finding = await watched.next('finding', (one) => one.detector === 'tracer');
  assert.equal(finding.pid, strace.pid);
});

test('strace on every thread', async (t) => {
  const watched = use(t, await startWatched());
  use(t, start(['strace', '-f', '-o', '/dev/null', '-p', String(watched.target)]));
  await confirmed(watched, 'tracer');
});

test('L6-03 an attach that ends before the second scan is one detection, and no violation', async (t) => {
  const watched = use(t, await startWatched({ intervalMs: 2000 }));
  const strace = use(t, start(['strace', '-o', '/dev/null', '-p', String(watched.target)]));
  await watched.next('finding', (one) => one.detector === 'tracer');
  await strace.stop();
  await watched.next('level', (one) => one.level === 'clean');
  await sleep(2500);
  assert.ok(!watched.said.some((one) => one.type === 'violation'));
});

test('L6-07 SIGSTOP of the engine', async (t) => {
  const watched = use(t, await startWatched());
  process.kill(watched.target, 'SIGSTOP');
  await confirmed(watched, 'stopped');
});

test("L6-02 an ordinary user's own debugger and reader of memory get nothing from a role that is not dumpable", async (t) => {
  const watched = use(t, await startWatched({ uid: ordinaryUid }));
  const read = start(asUser(ordinaryUid, ['dd', `if=/proc/${watched.target}/mem`, 'of=/dev/null', 'bs=1', 'count=1']));
  const gdb = use(t, start(asUser(ordinaryUid, ['gdb', '-q', '-nx', '-batch', '-p', String(watched.target)])));
  await new Promise((resolve) => read.process.once('close', resolve));
  await new Promise((resolve) => gdb.process.once('close', resolve));
  assert.match(read.output(), /Permission denied/);
  assert.match(gdb.output(), /not permitted|Permission denied|Could not attach/);
  await sleep(1000);
  assert.ok(!watched.said.some((one) => one.type === 'violation'), 'an attempt that got nothing ends nothing');
});

test('L6-02 root holds /proc/PID/mem open: TracerPid stays 0, the descriptor is seen', async (t) => {
  const watched = use(t, await startWatched());
  const holder = use(t, start(['sh', '-c', `exec 7</proc/${watched.target}/mem; exec sleep 20`]));
  await confirmed(watched, 'memory');
  assert.equal((await watched.next('finding', (one) => one.detector === 'memory')).pid, holder.pid);
});

test('L6-02 root holds the memory of one of our threads open', async (t) => {
  const watched = use(t, await startWatched());
  use(t, start(['sh', '-c', `exec 7</proc/${watched.target}/task/${watched.target}/mem; exec sleep 20`]));
  await confirmed(watched, 'memory');
});

test('L6-02 root holds it open in a process whose first thread has ended', async (t) => {
  const watched = use(t, await startWatched());
  const holder = use(
    t,
    start([
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      stripped('test/attacks/entries/headless-reader.ts'),
      `/proc/${watched.target}/mem`,
    ]),
  );
  await confirmed(watched, 'memory');
  assert.match(readFileSync(`/proc/${holder.pid}/stat`, 'latin1'), /\) Z /);
});

/** A program of root's: what it does with the memory of the engine, which is `path`. */
const reader = (body: string) => (watched: { readonly target: number }) => [
  '/usr/bin/python3',
  '-c',
  `import ctypes, os, threading, time\npath = '/proc/${watched.target}/mem'\n${body}\ntime.sleep(30)`,
];
const readers: readonly (readonly [string, (watched: { readonly target: number }) => string[]])[] = [
  [
    'in a thread with a table of descriptors of its own',
    reader(`def read():
    assert ctypes.CDLL(None).unshare(0x400) == 0
    os.close(0)
    os.open(path, os.O_RDONLY)
    time.sleep(30)
threading.Thread(target=read).start()`),
  ],
  [
    'in the place of another descriptor, once it has run for a while',
    reader(`time.sleep(4)
os.dup2(os.open(path, os.O_RDONLY), 1)
os.closerange(3, 100)`),
  ],
  [
    "after it gave up root's rights",
    reader(`os.open(path, os.O_RDONLY)
os.setresuid(12399, 12399, 12399)`),
  ],
];
for (const [what, command] of readers) {
  test(`L6-02 root reads the engine's memory ${what}`, async (t) => {
    const watched = use(t, await startWatched());
    const holder = use(t, start(command(watched)));
    assert.equal((await watched.next('violation', undefined, 20_000)).detector, 'memory', holder.output());
    assert.equal((await watched.next('finding', (one) => one.detector === 'memory')).pid, holder.pid);
  });
}

test('L6-02 root reads it through a proc of its own', async (t) => {
  const watched = use(t, await startWatched());
  use(
    t,
    start([
      'unshare',
      '--mount',
      'sh',
      '-c',
      `mount -t proc other /mnt && exec 7</mnt/${watched.target}/mem; exec sleep 20`,
    ]),
  );
  await confirmed(watched, 'memory');
});

test('L6-10 a debugger that ended, and that nobody collected, ends nothing', async (t) => {
  const watched = use(t, await startWatched({ profile: 'installed' }));
  const parent = use(t, start(['sh', '-c', 'gdb --version >/dev/null & exec sleep 20']));
  await until('the debugger to end', () =>
    tree(parent.pid).some((pid) => / \(gdb\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))),
  );
  const from = watched.said.length;
  await sleep(1500);
  assert.deepEqual(
    watched.said.slice(from).filter((one) => one.type === 'finding' || one.type === 'violation'),
    [],
  );
});

test('L6-06 the inspector opened from inside', async (t) => {
  const watched = use(t, await startWatched());
  await watched.tell('inspector');
  await confirmed(watched, 'inspector');
});

test('L6-06 SIGUSR1 opens no inspector: no process of ours has a handler for it', async (t) => {
  const watched = use(t, await startWatched());
  process.kill(watched.target, 'SIGUSR1');
  process.kill(watched.supervisor, 'SIGUSR1');
  await sleep(1200);
  const { checks } = await watched.checks();
  assert.match(checks.find((check) => check.id === 'inspector')?.evidence ?? '', /^full, 0 findings/);
});
