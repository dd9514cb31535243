/**
 * Attacks on the watchdog itself, and sockets in the processes that it watches.
 * Needs root: watches processes of other users.
 * @module
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { descriptors } from '../../src/wire/messages.ts';
import { alive, until } from '../support/server.ts';
import type { Watched } from '../support/watchdog.ts';
import { ordinaryUid, startWatched, use } from '../support/watchdog.ts';
import { assertWithin } from '../support/time-bounds.ts';

for (const signal of ['SIGKILL', 'SIGQUIT', 'SIGABRT'] as const) {
  test(`L6-09 the watchdog is ended by ${signal}: a violation at once`, async (t) => {
    const watched = use(t, await startWatched());
    const from = performance.now();
    process.kill(watched.watchdog, signal);
    assert.match((await watched.next('violation')).code, /^L6_WATCHDOG_DEAD$/);
    assert.equal(await watched.ended, 16);
    assertWithin('the end after the watchdog', performance.now() - from, 1000);
  });
}

test('L6-09 signals that Node catches do not silence the watchdog', async (t) => {
  // Node raises them again by a call that the filter refuses: the process goes on, and so do the scans.
  const watched = use(t, await startWatched());
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGSEGV'] as const) process.kill(watched.watchdog, signal);
  await sleep(700);
  const scans = async () => Number(/^scan (\d+)/.exec((await watched.checks()).checks[0]?.evidence ?? '')?.[1] ?? 0);
  if (watched.said.some((one) => one.type === 'violation')) return; // it died of one, and that was seen
  const before = await scans();
  await sleep(1000);
  assert.ok((await scans()) > before);
});

test('L6-09 L6-08 the watchdog is stopped: its silence is a violation', async (t) => {
  const watched = use(t, await startWatched());
  process.kill(watched.watchdog, 'SIGSTOP');
  const violation = await watched.next('violation', undefined, 20_000);
  assert.equal(violation.code, 'L6_WATCHDOG_SILENT');
  assert.equal(await watched.ended, 16);
});

test('L6-07 the supervisor is stopped for seven seconds: a detection when it goes on', async (t) => {
  const watched = use(t, await startWatched());
  process.kill(watched.supervisor, 'SIGSTOP');
  await sleep(7000);
  process.kill(watched.supervisor, 'SIGCONT');
  // The scans of that time waited in the channel: each saw it stopped.
  assert.equal((await watched.next('violation')).detector, 'stopped');
});

test('the watchdog asks the kernel about Unix sockets, whose listed names a stranger can forge', async (t) => {
  const watched = use(t, await startWatched());
  // Without it, Node's own descriptors would take the number. The kernel lists such a socket only once it has been asked.
  assert.match(readlinkSync(`/proc/${watched.watchdog}/fd/${descriptors.diag}`), /^socket:/);
});

test('the limits of the watchdog: few descriptors, no file that grows, no core image', async (t) => {
  const watched = use(t, await startWatched());
  const limits = readFileSync(`/proc/${watched.watchdog}/limits`, 'latin1');
  for (const limit of ['Max open files +64 +64 ', 'Max file size +0 +0 ', 'Max core file size +0 +0 '])
    assert.match(limits, new RegExp(`^${limit}`, 'm'));
});

test('the watchdog dies with its supervisor', async (t) => {
  const watched = use(t, await startWatched());
  process.kill(watched.supervisor, 'SIGKILL');
  await watched.ended;
  await until('the watchdog to end', () => !alive(watched.watchdog), 2000);
});

for (const command of ['udp', 'listen', 'netlink', 'connect', 'unix'] as const) {
  test(`L6-12 a socket that nobody declared in a watched process: ${command}`, async (t) => {
    const watched = use(t, await startWatched());
    const server = createServer((socket) => socket.on('error', () => undefined)).listen(
      command === 'unix' ? { path: '\0kwyre-attack-6' } : { port: 0, host: '127.0.0.1' },
    );
    t.after(() => server.close());
    await new Promise((resolve) => server.once('listening', resolve));
    const argument =
      command === 'connect'
        ? ` ${(server.address() as AddressInfo).port}`
        : command === 'unix'
          ? ' \0kwyre-attack-6'
          : '';
    await watched.tell(`${command}${argument}`);
    const violation = await watched.next('violation');
    assert.ok(violation.detector === 'sockets' || violation.detector === 'inspector', violation.detector);
    assert.equal(await watched.ended, 16);
  });
}

test('a child of a watched process', async (t) => {
  const watched = use(t, await startWatched());
  await watched.tell('child');
  const violation = await watched.next('violation');
  assert.ok(['children', 'sockets'].includes(violation.detector));
});

test("L6-24 an ordinary user's watchdog says what it cannot see, and root's sees it", async (t) => {
  const blind = use(t, await startWatched({ uid: ordinaryUid }));
  const seeing = use(t, await startWatched());
  const evidence = async (watched: Watched, id: string) =>
    (await watched.checks()).checks.find((check) => check.id === id)?.evidence ?? '';
  assert.match(await evidence(blind, 'sockets'), /^not-available \(/);
  assert.match(await evidence(seeing, 'sockets'), /^full/);
  assert.match(await evidence(blind, 'capture'), /^full/);
  assert.match(await evidence(blind, 'tracer'), /^full/);
});

test('the watchdog under its jail: sealed, without new privileges, with two capabilities and no write', async (t) => {
  const watched = use(t, await startWatched());
  const status = readFileSync(`/proc/${watched.watchdog}/status`, 'latin1');
  assert.match(status, /^Seccomp:\t2$/m);
  assert.match(status, /^NoNewPrivs:\t1$/m);
  assert.match(status, /^CapEff:\t0000000000080004$/m);
  assert.match(status, /^CapBnd:\t0000000000080004$/m);
  assert.doesNotMatch(status, /^Uid:\t0\t/m);
});
