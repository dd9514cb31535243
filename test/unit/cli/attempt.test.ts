/**
 * From attempts to the exit code: what could not be tried is never taken for held.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeRole } from '../../../src/cli/prove/jail.ts';
import { judgeSearch } from '../../../src/cli/prove/memory.ts';
import { judgeExchanges, unprovenLoopback } from '../../../src/cli/prove/loopback.ts';
import { httpAttempts } from '../../../src/cli/prove/loopback-attempts.ts';
import type { Proof, Verdict } from '../../../src/cli/prove/attempt.ts';
import { exitCodeOf, groupProofs, proofLines, summaryLine } from '../../../src/cli/prove/attempt.ts';
import { localAttempts, localAttemptsOf } from '../../../src/layers/2-isolation/probe/local-attempts.ts';

const proof = (layer: 1 | 2, verdict: Verdict, where = 'server'): Proof => ({
  layer,
  ids: 'L1-01',
  attempt: 'a',
  where,
  expected: 'e',
  got: 'g',
  verdict,
});

test('exit code: the lowest breached layer, else 1 for what was not proved, else 0', () => {
  assert.equal(exitCodeOf([proof(1, 'held'), proof(2, 'held')]), 0);
  assert.equal(exitCodeOf([proof(2, 'breached'), proof(1, 'breached'), proof(1, 'not-proved')]), 11);
  assert.equal(exitCodeOf([proof(2, 'breached'), proof(1, 'not-proved')]), 12);
  assert.equal(exitCodeOf([proof(1, 'held'), proof(2, 'not-proved')]), 1);
  assert.equal(exitCodeOf([]), 1, 'nothing was tried');
});

test('a group shows its worst member, and who answered what', () => {
  const group = [proof(2, 'held', 'gateway'), { ...proof(2, 'breached', 'engine'), got: 'done' }];
  assert.match(proofLines(group), /^BREACHED .*a, in gateway, engine {2}\[L1-01\]\n.*got: gateway: g; engine: done$/);
  assert.deepEqual(
    groupProofs([...group, { ...proof(1, 'held'), attempt: 'b' }]).map((one) => one.length),
    [2, 1],
  );
  assert.equal(
    summaryLine([...group, proof(1, 'not-proved')]),
    'the defences held against 1 of 3 attempts; 1 got through; 1 NOT PROVED',
  );
});

const answer = (status: number, head = '', failed?: string) => ({ status, head, failed });
const [attempt] = httpAttempts({ port: 1, token: 'x', pid: 1 });

test('an answer below 400 is a breach, and so is one that another origin may read', () => {
  assert.ok(attempt !== undefined);
  assert.equal(judgeExchanges(attempt, [answer(403), answer(200)]).verdict, 'breached');
  assert.equal(judgeExchanges(attempt, [answer(101)]).verdict, 'breached');
  assert.equal(
    judgeExchanges(attempt, [answer(403, 'HTTP/1.1 403 x\r\nAccess-Control-Allow-Origin: *')]).verdict,
    'breached',
  );
});

test('refused or cut off is held; an error of the server, a time-out or no connection proves nothing', () => {
  assert.ok(attempt !== undefined);
  assert.equal(judgeExchanges(attempt, [answer(403), answer(0)]).verdict, 'held');
  for (const odd of [answer(500), answer(404), answer(0, '', 'no answer in time'), answer(0, '', 'ECONNREFUSED')])
    assert.equal(judgeExchanges(attempt, [odd]).verdict, 'not-proved');
  assert.ok(unprovenLoopback('because').every((one) => one.verdict === 'not-proved' && one.got.includes('because')));
});

const probed = {
  answers: new Map([
    ['tcp', 131],
    ['udp', 0],
  ]),
  enforced: [],
  failure: undefined,
  complete: false,
  signal: 'SIGKILL',
  code: null,
  output: '',
};

test('a probe that broke off: answered attempts count, the rest is not proved', () => {
  assert.deepEqual(
    judgeRole('engine', ['tcp', 'udp', 'fork'], probed).map((one) => [one.verdict, one.where]),
    [
      ['held', 'engine'],
      ['breached', 'engine'],
      ['not-proved', 'engine'],
    ],
  );
});

test('every local attempt must fail in gateway and engine; the watchdog alone may read', () => {
  const all = Object.keys(localAttempts);
  assert.deepEqual(localAttemptsOf('engine'), all);
  assert.deepEqual(localAttemptsOf('gateway'), all);
  assert.deepEqual(
    all.filter((id) => !localAttemptsOf('watchdog').includes(id)),
    ['open-memory', 'read-file'],
  );
});

test('L5-32 a search that read nothing, or could not read much, proves nothing', () => {
  const found = { total: 0, bytes: 1e6, unreadableBytes: 4096 };
  assert.equal(judgeSearch('after', 'engine', found).verdict, 'held');
  assert.equal(judgeSearch('after', 'engine', { ...found, total: 1 }).verdict, 'breached');
  for (const blind of [{ ...found, bytes: 0 }, { ...found, unreadableBytes: 1 << 17 }, 'the process was not found'])
    assert.equal(judgeSearch('after', 'engine', blind).verdict, 'not-proved');
});
