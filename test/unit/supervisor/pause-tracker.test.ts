/**
 * What a gap of the supervisor is taken for: a stop, a pause of all, a suspension, a busy machine.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PauseTracker } from '../../../src/supervisor/intrusion/pause-tracker.ts';

const others = ['watchdog', 'gateway', 'engine'];
const whose = { pid: 7, uid: 0 };

function begin() {
  let [monotonic, boot, runnable] = [1000, 1000, 0];
  const still = new PauseTracker({ monotonic, boot, runnable });
  /** A tick after so many milliseconds, in which the process waited for a processor for `waited` of them. */
  const after = (ms: number, { waited = 0, slept = 0 } = {}) => {
    monotonic += ms;
    boot += ms + slept;
    runnable += waited;
    return still.tick({ monotonic, boot, runnable }, others, whose);
  };
  /** Whether the process counts as starved so many milliseconds after the last tick, if it waited for a processor for `waited`. */
  const starvedAfter = (ms: number, { waited = 0 } = {}) =>
    still.starved({ monotonic: monotonic + ms, boot: boot + ms, runnable: runnable + waited });
  return { still, after, starvedAfter, now: () => monotonic };
}

test('L6-07 stopped alone: a pause until a clean scan, and a detection once the others did not say that they were late', () => {
  const { still, after, now } = begin();
  assert.equal(after(9000), 'begun');
  const lateness = [
    {
      detector: 'clock',
      seen: 'full',
      reason: '',
      findings: [{ detector: 'clock', relation: 'effect', pid: 1, uid: 0, name: 'x', what: 'y' }],
    },
  ] as const;
  assert.equal(still.explain(lateness, now())[0]?.findings.length, 0);
  assert.deepEqual([after(1000), after(1000), after(1000)], [undefined, undefined, undefined]);
  const came = after(1000);
  assert.ok(typeof came === 'object');
  assert.equal(came.findings[0]?.what, 'the supervisor was stopped for 8 s');
  assert.equal(still.explain(lateness, now())[0]?.findings.length, 1);
  assert.equal(after(1000), undefined, 'once');
  assert.ok(still.paused);
  assert.equal(still.resume(1000, now()), undefined, 'a scan that began before');
  assert.deepEqual(still.resume(now(), now()), { seconds: 0, noticed: true });
  assert.ok(!still.paused);
});

test('a machine that paused as a whole, or was suspended: no detection', () => {
  for (const slept of [0, 3_600_000]) {
    const { still, after, now } = begin();
    assert.equal(after(slept === 0 ? 12_000 : 1000, { slept }), 'begun');
    if (slept === 0) for (const who of others) still.reportLateness(who, 10_500, now());
    for (let i = 0; i < 6; i += 1) assert.equal(after(1000), undefined);
    assert.deepEqual(still.resume(now(), now()), { seconds: slept === 0 ? 11 : 3600, noticed: true });
  }
});

test('a busy machine: late for want of a processor is no pause, and is remembered for a while', () => {
  const { still, after, starvedAfter } = begin();
  assert.equal(after(29_000, { waited: 27_000 }), undefined);
  assert.deepEqual([still.paused, starvedAfter(0)], [false, true]);
  assert.equal(starvedAfter(15_000, { waited: 14_000 }), false);
  assert.equal(starvedAfter(9000, { waited: 8000 }), true);
  assert.equal(starvedAfter(9000), false, 'a stop that no tick has measured yet');
  assert.equal(after(29_000, { waited: 9000 }), 'begun', 'a stop on a busy machine is a stop');
  assert.equal(starvedAfter(0), false);
});

test('a role that cut its turns by itself begins a pause, once, and says nothing by it', () => {
  const { still, now } = begin();
  assert.deepEqual([still.reportCut(now()), still.reportCut(now())], [true, false]);
  assert.ok(still.paused);
  assert.deepEqual(still.resume(now(), now()), { seconds: 0, noticed: false }, 'nothing that it said is told');
});
