/**
 * What the layers report: enforced only what was observed or tested, degraded whatever is weaker than promised.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Enforcement } from '../../../src/base/verdict.ts';
import { isCutAmongListeners, loopbackReport, maxTableBytes } from '../../../src/layers/1-loopback/status.ts';
import { isolationReport, livingCheck } from '../../../src/layers/2-isolation/status.ts';
import type { EngineMemory } from '../../../src/layers/5-memory/status.ts';
import { memoryReport } from '../../../src/layers/5-memory/status.ts';
import { watchdogJailCheck } from '../../../src/layers/6-intrusion/status.ts';
import { requiredOf } from '../../../src/policy/roles.ts';

const entry = (feature: string, status: Enforcement['status'] = 'full'): Enforcement => ({
  feature,
  need: 'required',
  requested: '',
  observed: 'seen',
  status,
  reason: '',
});

const row = (local: string, state: string) =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n`;

test('L1-01 the listener is enforced only when the tables show 127.0.0.1 and no other listener on the port', () => {
  const report = (tcp: string, tcp6 = '', ipv6 = { held: true, reason: '' }) =>
    loopbackReport({ port: 8000, tcp: `head\n${tcp}`, tcp6: `head\n${tcp6}`, ipv6, closedRoutes: 20 });
  const ours = row('0100007F:1F40', '0A');
  assert.equal(report(ours).status, 'enforced');
  assert.equal(report(`${ours}${row('0100007F:1F41', '0A')}${row('00000000:1F40', '01')}`).status, 'enforced');
  assert.equal(report('').status, 'degraded', 'no listener');
  assert.equal(report(`${ours}${row('00000000:1F40', '0A')}`).status, 'degraded', 'another listener');
  assert.equal(report(row('00000000:1F40', '0A')).status, 'degraded', 'another address');
  assert.equal(report(ours, row(`${'0'.repeat(32)}:1F40`, '0A')).status, 'degraded', 'a listener for IPv6');
  assert.equal(report(ours, '', { held: false, reason: '' }).status, 'degraded', '[::1] is free');
  assert.equal(report(ours, '', { held: false, reason: 'this kernel has no IPv6' }).status, 'enforced');
});

test('L1-01 a table of sockets that was cut among what listens says nothing about other listeners', () => {
  const table = (first: string, rest: string) =>
    `head\n${row('0100007F:1F40', first)}${row('0100007F:1F40', rest).repeat(maxTableBytes / row('0100007F:1F40', rest).length)}`;
  assert.equal(isCutAmongListeners(`head\n${row('0100007F:1F40', '0A')}`), false, 'a whole table');
  assert.equal(isCutAmongListeners(table('0A', '01')), false, 'cut among connections, which come after what listens');
  assert.equal(isCutAmongListeners(table('0A', '0A')), true);
});

test('a role that reported nothing degrades layer 2', () => {
  const full = (role: 'gateway' | 'engine') => requiredOf(role).map((feature) => entry(feature));
  const observed = { probes: [], devices: '', release: '', confined: 'x', installed: true, accepted: [] } as const;
  const status = (enforced: { gateway: Enforcement[]; engine: Enforcement[] }, change: object = {}) =>
    isolationReport({ ...observed, enforced, ...change }).status;
  const whole = { gateway: full('gateway'), engine: full('engine') };
  assert.equal(status(whole), 'enforced');
  assert.equal(status({ ...whole, engine: [] }), 'degraded');
  assert.equal(status({ ...whole, gateway: full('gateway').slice(1) }), 'degraded');
  assert.equal(status(whole, { accepted: ['landlock-files'] }), 'degraded', 'a waived feature');
  assert.equal(status(whole, { confined: '' }), 'degraded', 'a supervisor without its filter');
  assert.equal(status(whole, { installed: false }), 'degraded', 'a supervisor that can write files of its user');
});

const threadStatus = (filters: string, seccomp = 2) =>
  `Name:\tx\nGroups:\t \nNoNewPrivs:\t1\nSeccomp:\t${seccomp}\n${filters === '' ? '' : `Seccomp_filters:\t${filters}\n`}`;

test('a running role: every thread must have both of its filters besides the inherited one', () => {
  const of = (...threads: string[]) => livingCheck('engine', threads, 1).status;
  assert.equal(of(), 'degraded');
  assert.equal(of(threadStatus('3'), threadStatus('4')), 'enforced');
  assert.equal(of(threadStatus('3'), threadStatus('2')), 'degraded', 'one thread without the final filter');
  assert.equal(of(threadStatus('3'), threadStatus('3', 0)), 'degraded');
  assert.equal(livingCheck('engine', [threadStatus('3')], 2).status, 'degraded', 'started under one more filter');
  assert.equal(of(threadStatus('')), 'enforced', 'a kernel that does not count them');
  assert.equal(of(threadStatus('3').replace('NoNewPrivs:\t1', 'NoNewPrivs:\t0')), 'degraded');
});

const memory: EngineMemory = {
  arena: 'secret',
  reason: '',
  workingBytes: 8 << 20,
  workingLockedBytes: 2 << 20,
  kv: 'sealed',
  idleSeconds: 60,
  continueSeconds: 600,
  sessions: 100,
  tried: { sealing: true, idle: true },
};
const titles = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n';

function memoryStatus(id: string, change: Partial<EngineMemory> = {}, swaps = titles): string {
  const { checks } = memoryReport({
    engine: { ...memory, ...change },
    enforced: { gateway: [entry('core-limit')], engine: [] },
    swaps,
    presentBytes: 4096,
    endedEngines: 0,
    overwrittenBytes: 0,
  });
  return checks.find((check) => check.id === id)?.status ?? 'missing';
}

test('L5-10 swap on a disk, in a file or in memory, or a list that cannot be read: degraded; none: enforced', () => {
  assert.equal(memoryStatus('swap'), 'enforced');
  for (const area of [
    '/dev/sda2                               partition\t2097148\t\t0\t\t-2',
    '/swapfile file 1048576 0 -2',
    '/dev/zram0 partition 1048576 12 100',
  ])
    assert.equal(memoryStatus('swap', {}, `${titles}${area}\n`), 'degraded', area);
  assert.equal(memoryStatus('swap', {}, ''), 'degraded');
});

test('L5-16 L5-18 what was not seen to work is off, whatever is configured', () => {
  assert.deepEqual([memoryStatus('sealing'), memoryStatus('idle')], ['enforced', 'enforced']);
  assert.equal(memoryStatus('sealing', { kv: 'keep' }), 'degraded');
  assert.equal(memoryStatus('sealing', { tried: { sealing: false, idle: true } }), 'off');
  assert.equal(memoryStatus('idle', { tried: { sealing: true, idle: false } }), 'off');
});

test('L5-32 keys that others could read are degraded', () => {
  assert.deepEqual(
    [
      memoryStatus('keys'),
      memoryStatus('keys', { arena: 'locked', reason: 'x' }),
      memoryStatus('keys', { arena: 'plain', reason: 'x' }),
    ],
    ['enforced', 'degraded', 'degraded'],
  );
});

test('a role whose core limit was not reported is not called without core dumps', () => {
  assert.deepEqual(
    [memoryStatus('gateway.no-core-dump'), memoryStatus('engine.no-core-dump')],
    ['enforced', 'degraded'],
  );
});

test('a watchdog that reported nothing, or not all, is not called jailed', () => {
  const whole = requiredOf('watchdog').map((feature) => entry(feature));
  assert.equal(watchdogJailCheck([]).status, 'degraded');
  assert.match(watchdogJailCheck([]).evidence, /seccomp-seal: not reported/);
  assert.equal(watchdogJailCheck(whole.slice(1)).status, 'degraded');
  assert.equal(
    watchdogJailCheck([entry('seccomp-seal', 'none'), ...whole.filter(({ feature }) => feature !== 'seccomp-seal')])
      .status,
    'degraded',
  );
  assert.equal(watchdogJailCheck(whole).status, 'enforced');
});
