/** What is written because a jailed process said so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Finding } from '../../../src/layers/6-intrusion/finding.ts';
import type { Event } from '../../../src/state/event-log.ts';
import { EventBudget, roundCount } from '../../../src/supervisor/intrusion/event-budget.ts';
import { linesPerHour } from '../../../src/wire/covert-channels.ts';

function open() {
  const written: Event[] = [];
  let now = 0;
  const ledger = new EventBudget({ write: (event) => written.push(event) }, () => now);
  return {
    written,
    ledger,
    later: (ms: number) => {
      now += ms;
    },
  };
}
const finding: Finding = {
  detector: 'tools',
  relation: 'able',
  pid: 7,
  uid: 0,
  name: 'gdb',
  what: 'is GDB (debugger)',
};

test('wrong tokens: the first at once, then a few lines an hour with what was counted, rounded', () => {
  const { written, ledger, later } = open();
  ledger.wrongTokens(9, 1);
  assert.deepEqual(written, [{ code: 'L1_TOKEN_WRONG', role: 'gateway', pid: 9, count: 1 }]);
  for (let i = 0; i < 1000; i += 1) ledger.wrongTokens(9, 3);
  assert.equal(written.length, linesPerHour.wrongTokens);
  later(3_600_000);
  ledger.wrongTokens(9, 1);
  assert.equal(written.length, linesPerHour.wrongTokens + 1);
  assert.equal(written.at(-1)?.count, 4096, 'what was not told: 995 times 3, and 1');
  ledger.close();
  assert.equal(written.length, linesPerHour.wrongTokens + 1, 'nothing is left to tell');
});

test('findings and levels: so many an hour, then a count; the count is told at the end', () => {
  const { written, ledger } = open();
  const told = Array.from({ length: 40 }, () => ledger.finding(finding));
  assert.equal(told.filter(Boolean).length, linesPerHour.seen);
  const levels = Array.from({ length: 40 }, (_, at) => ledger.level(at % 2 === 0 ? 'detected' : 'clean'));
  assert.equal(levels.filter(Boolean).length, linesPerHour.levels);
  assert.equal(written.length, linesPerHour.seen + linesPerHour.levels);
  ledger.close();
  assert.deepEqual(written.slice(-2), [
    { code: 'L6_SEEN_MORE', count: 32 },
    { code: 'L6_LEVELS_MORE', count: 32 },
  ]);
});

test('a count carries at most 21 values', () => {
  const values = new Set([0, 1, 2, 3, 4, 5, 1000, 2 ** 20 - 1, 2 ** 20, 2 ** 30].map(roundCount));
  assert.deepEqual([...values], [1, 2, 4, 8, 1024, 2 ** 20]);
});
