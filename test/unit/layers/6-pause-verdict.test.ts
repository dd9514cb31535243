/**
 * One pause of all, or one of us who was stopped.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pause } from '../../../src/layers/6-intrusion/pause-verdict.ts';

const others = ['watchdog', 'gateway', 'engine'];
const said = (ms: Readonly<Record<string, number>>, at = 100_000) =>
  new Map(Object.entries(ms).map(([who, late]) => [who, { ms: late, at }]));

const cases: readonly (readonly [string, Readonly<Record<string, number>>, string])[] = [
  ['all were late by as much', { watchdog: 11_000, gateway: 10_400, engine: 10_600 }, 'pause'],
  ['the engine went on meanwhile', { watchdog: 11_000, gateway: 10_400 }, 'alone'],
  ['the engine was late for a moment only', { watchdog: 11_000, gateway: 10_400, engine: 3000 }, 'alone'],
  ['nobody else was late', {}, 'alone'],
];
for (const [what, late, verdict] of cases) {
  test(`L6-07 the supervisor was late by eleven seconds, and ${what}: ${verdict}`, () => {
    const pause = new Pause(11_000, 100_000, others, false);
    if (verdict === 'alone')
      assert.equal(pause.verdict(said(late), 102_000), 'waiting', 'their words may be on the way');
    assert.equal(pause.verdict(said(late), 103_001), verdict);
    assert.equal(
      pause.verdict(said({ watchdog: 11_000, gateway: 11_000, engine: 11_000 }), 104_000),
      verdict,
      'it stays so',
    );
  });
}

test('words about an earlier pause are none about this one', () => {
  const pause = new Pause(11_000, 100_000, others, false);
  assert.equal(pause.verdict(said({ watchdog: 11_000, gateway: 11_000, engine: 11_000 }, 90_000), 103_001), 'alone');
});

test('L6-23 a suspended machine is a pause by its clocks', () => {
  assert.equal(new Pause(0, 100_000, others, true).verdict(new Map(), 100_000), 'pause');
});
