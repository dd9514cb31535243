/**
 * What the supervisor says of its roles: nothing that was not reported or read counts as in force.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Enforcement } from '../../../src/base/verdict.ts';
import { requiredOf } from '../../../src/policy/roles.ts';
import { jailCheck } from '../../../src/supervisor/intrusion/alarm.ts';
import { livingCheck } from '../../../src/supervisor/roles/self-probe.ts';
import { cutShort, mostTable, reportLayers } from '../../../src/supervisor/status.ts';

const entry = (feature: string, status: Enforcement['status'] = 'full'): Enforcement => ({
  feature,
  need: 'required',
  requested: '',
  observed: 'seen',
  status,
  reason: '',
});
const whole = requiredOf('watchdog').map((feature) => entry(feature));

test('a watchdog that reported nothing, or not all, is not called jailed', () => {
  assert.equal(jailCheck([], 0).status, 'degraded');
  assert.match(jailCheck([], 0).evidence, /seccomp-seal: not reported/);
  assert.equal(jailCheck(whole.slice(1), 0).status, 'degraded');
  assert.equal(
    jailCheck([entry('seccomp-seal', 'none'), ...whole.filter(({ feature }) => feature !== 'seccomp-seal')], 0).status,
    'degraded',
  );
  assert.equal(jailCheck(whole, 0).status, 'enforced');
});

const status = (filters: string, seccomp = 2) =>
  `Name:\tx\nGroups:\t \nNoNewPrivs:\t1\nSeccomp:\t${seccomp}\n${filters === '' ? '' : `Seccomp_filters:\t${filters}\n`}`;

test('the living role: every thread must have the filter of its start and its seal besides the inherited one', () => {
  const of = (...threads: string[]) => livingCheck('engine', threads, 1, 0).status;
  assert.equal(of(), 'degraded');
  assert.equal(of(status('3'), status('4')), 'enforced');
  assert.equal(of(status('3'), status('2')), 'degraded', 'one thread without the seal');
  assert.equal(of(status('3'), status('3', 0)), 'degraded');
  assert.equal(livingCheck('engine', [status('3')], 2, 0).status, 'degraded', 'started under one more filter');
  assert.equal(of(status('')), 'enforced', 'a kernel that does not count them');
  assert.equal(of(status('3').replace('NoNewPrivs:\t1', 'NoNewPrivs:\t0')), 'degraded');
});

test('a role that reported nothing degrades layer 2', () => {
  const full = (role: 'gateway' | 'engine') => requiredOf(role).map((feature) => entry(feature));
  const seen = {
    port: 1,
    tcp: '',
    tcp6: '',
    ipv6: { held: true, reason: '' },
    closedRoutes: 1,
    devices: '',
    release: '',
    probes: [],
    confined: 'x',
    installed: true,
    accepted: [],
    tree: [],
    model: [],
    memory: [],
    watchdog: [],
    now: 0,
  } as const;
  const layer2 = (enforced: { gateway: Enforcement[]; engine: Enforcement[] }) =>
    reportLayers({ ...seen, enforced }).find(({ layer }) => layer === 2)!;
  assert.equal(layer2({ gateway: full('gateway'), engine: full('engine') }).status, 'enforced');
  assert.equal(layer2({ gateway: full('gateway'), engine: [] }).status, 'degraded');
  assert.equal(layer2({ gateway: full('gateway').slice(1), engine: full('engine') }).status, 'degraded');
});

test('L1-01 a table of sockets that was cut among what listens says nothing about other listeners', () => {
  const row = (state: string) =>
    `   0: 0100007F:1F40 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n`;
  const table = (first: string, rest: string) => `head\n${row(first)}${row(rest).repeat(mostTable / row(rest).length)}`;
  assert.equal(cutShort(`head\n${row('0A')}`), false, 'a whole table');
  assert.equal(cutShort(table('0A', '01')), false, 'cut among connections, which come after what listens');
  assert.equal(cutShort(table('0A', '0A')), true);
});
