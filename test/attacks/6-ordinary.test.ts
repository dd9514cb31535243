/**
 * Layer 6 as an ordinary user has it: the same attacks as root's tests, by the person's own programs, on the person's
 * own server.
 *
 * What needs root's rights to be an attack (a debugger on a role that is not dumpable, a capture) fails here by itself,
 * and that it fails is the proof. Runs for whoever runs the tests; root runs it as an ordinary user.
 * @module
 */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { asOrdinary } from '../support/identity.ts';
import { alive, until } from '../support/server.ts';
import type { Watched } from '../support/watchdog.ts';
import { ordinaryUid, start, startWatched, use } from '../support/watchdog.ts';
import { assertWithin } from '../support/time-bounds.ts';

const me = process.getuid?.() === 0 ? ordinaryUid : (process.getuid?.() ?? 0);
const mine = (command: readonly string[]) => start(asOrdinary(ordinaryUid, command));
// Whoever else works on this machine may have a debugger open; what it does to us counts all the same.
const watch = async (t: TestContext, intervalMs = 250): Promise<Watched> =>
  use(t, await startWatched({ uid: ordinaryUid, intervalMs, acknowledged: ['gdb', 'strace', 'tcpdump'] }));

async function confirmed(watched: Watched, detector: string): Promise<void> {
  assert.equal((await watched.next('violation')).detector, detector);
  assert.equal(await watched.ended, 16);
  await until('the target to end', () => !alive(watched.target), 2000);
}

/** A tool under a name that no list has. */
function renamed(t: TestContext, tool: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-ordinary-'));
  chmodSync(folder, 0o755);
  t.after(() => {
    rmSync(folder, { recursive: true });
  });
  const path = join(folder, 'notepad');
  copyFileSync(realpathSync(tool), path);
  chmodSync(path, 0o755);
  return path;
}

const refusedLooks: readonly (readonly [string, (t: TestContext, pid: number) => string[]])[] = [
  ['L6-01 gdb under another name', (t, pid) => [renamed(t, '/usr/bin/gdb'), '-q', '-nx', '-batch', '-p', String(pid)]],
  ['L6-05 strace on every thread', (_t, pid) => ['strace', '-f', '-o', '/dev/null', '-p', String(pid)]],
  ['L6-02 a reader of /proc/PID/mem', (_t, pid) => ['dd', `if=/proc/${pid}/mem`, 'of=/dev/null', 'bs=1', 'count=1']],
  ['L6-02 a reader of its environment', (_t, pid) => ['cat', `/proc/${pid}/environ`]],
  ['L6-02 a reader of its descriptors', (_t, pid) => ['ls', `/proc/${pid}/fd`]],
  ['L6-13 tcpdump on the loopback interface', () => ['tcpdump', '-i', 'lo', '-c', '1']],
];
for (const [title, command] of refusedLooks) {
  test(`${title}, by the person: refused, and an attempt that got nothing ends nothing`, async (t) => {
    const watched = await watch(t);
    const look = mine(command(t, watched.target));
    const code = await new Promise((resolve) => look.process.once('close', resolve));
    assert.match(look.output(), /not permitted|[Pp]ermission|Could not attach/, look.output());
    if (!title.includes('gdb')) assert.notEqual(code, 0);
    await sleep(700);
    assert.ok(!watched.said.some((one) => one.type === 'violation'));
  });
}

test('L6-07 the person stops the engine (SIGSTOP): a violation after two scans', async (t) => {
  const watched = await watch(t);
  assert.equal(runKill(watched.target, 'STOP'), true);
  await confirmed(watched, 'stopped');
});

test('L6-06 SIGUSR1 opens no inspector', async (t) => {
  const watched = await watch(t);
  for (const pid of [watched.target, watched.supervisor]) assert.equal(runKill(pid, 'USR1'), true);
  await sleep(1200);
  // The detector is blind here: the line that Node prints when an inspector listens would be in the target's words.
  for (const pid of [watched.target, watched.supervisor]) assert.ok(alive(pid), 'no handler, no default action either');
  assert.ok(!watched.said.some((one) => one.type === 'violation'));
  const ports = readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .filter((line) => / 0100007F:240D .* 0A /.test(line));
  assert.deepEqual(ports, [], 'nobody listens on 127.0.0.1:9229');
});

for (const signal of ['KILL', 'QUIT', 'ABRT'] as const) {
  test(`L6-09 the person ends the watchdog by SIG${signal}: a violation at once`, async (t) => {
    const watched = await watch(t);
    const from = performance.now();
    assert.equal(runKill(watched.watchdog, signal), true);
    assert.equal((await watched.next('violation')).code, 'L6_WATCHDOG_DEAD');
    assert.equal(await watched.ended, 16);
    assertWithin('the end after the watchdog', performance.now() - from, 2000);
  });
}

test('L6-08 L6-09 the person stops the watchdog: its silence is a violation', async (t) => {
  const watched = await watch(t);
  assert.equal(runKill(watched.watchdog, 'STOP'), true);
  assert.equal((await watched.next('violation', undefined, 30_000)).code, 'L6_WATCHDOG_SILENT');
  assert.equal(await watched.ended, 16);
});

test('L6-25 L6-10 a named tool of the person, without relation: no end, new conversations wait until it is gone', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-ordinary-'));
  chmodSync(folder, 0o755);
  t.after(() => {
    rmSync(folder, { recursive: true });
  });
  copyFileSync('/bin/sleep', join(folder, 'wireshark'));
  const watched = await watch(t);
  const tool = mine([join(folder, 'wireshark'), '30']);
  const finding = await watched.next('finding', (one) => one.name === 'wireshark');
  assert.equal(finding.pid, tool.pid);
  assert.equal(finding.uid, me);
  await watched.next('level', (one) => one.level === 'yellow');
  await sleep(1000);
  assert.ok(!watched.said.some((one) => one.type === 'violation'));
  await tool.stop();
  await watched.next('level', (one) => one.level === 'clean');
});

test('L6-15 L6-24 every detector says what this user could see, and none says clean without having seen', async (t) => {
  const watched = await watch(t);
  await sleep(600);
  const { checks } = await watched.checks();
  // A sibling that is not dumpable hides its sockets, its mappings and whoever holds its memory open from its own user:
  // that is told. What these would find, the filter of a role does not let happen (2-jail.test.ts: L6-06, sockets,
  // memory files).
  const blind = checks.filter((check) => check.status === 'off' || check.status === 'degraded');
  assert.deepEqual(blind.map((check) => check.id).sort(), ['inspector', 'mappings', 'memory', 'sockets']);
  for (const check of blind) assert.match(check.evidence, /not|only|cannot|hidden|root|user/, check.id);
  for (const check of checks) assert.notEqual(check.evidence, '', check.id);
});

/** Sends a signal as the person; whether the kernel allowed it. */
function runKill(pid: number, signal: string): boolean {
  if (!existsSync(`/proc/${pid}`)) return false;
  if (process.getuid?.() === 0)
    assert.match(
      readFileSync(`/proc/${pid}/status`, 'latin1'),
      new RegExp(`^Uid:\\s+${ordinaryUid}\\s`, 'm'),
      "it is the person's own process",
    );
  process.kill(pid, `SIG${signal}` as NodeJS.Signals);
  return true;
}
