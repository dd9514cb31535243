/**
 * The supervisor's ping and its timeout, with a clock that the test moves.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lifeline } from '../../../src/wire/lifeline.ts';

function begin(t: { after: (end: () => void) => void }) {
  const clock = { at: 0 };
  /** Pings that wait in the channel; they are read first. */
  const waiting: number[] = [];
  const told: [number, boolean][] = [];
  let lost = 0;
  let paused = 0;
  const line = new Lifeline({
    now: () => clock.at,
    afterReading(then) {
      for (const said of waiting.splice(0)) line.onPing(said);
      then();
    },
    onLate: (ms, cut) => told.push([ms, cut]),
    onPaused: () => (paused += 1),
    onLost: () => (lost += 1),
  });
  line.onPing(0);
  t.after(() => {
    line.stop();
  });
  const pass = (ms: number, step = 1000) => {
    for (const end = clock.at + ms; clock.at < end;) {
      clock.at += step;
      line.check();
    }
  };
  return { line, clock, pass, waiting, told, lost: () => lost, paused: () => paused };
}

test('a role exits after five seconds without a ping', (t) => {
  const { pass, lost } = begin(t);
  pass(5000);
  assert.equal(lost(), 0);
  pass(1000);
  assert.equal(lost(), 1);
});

test('regular pings keep it running', (t) => {
  const { line, clock, pass, lost } = begin(t);
  for (let i = 0; i < 20; i += 1) {
    pass(4000);
    line.onPing(clock.at);
  }
  assert.equal(lost(), 0);
});

test('a ping with a future time extends the timeout no more than a current one', (t) => {
  const { line, clock, pass, lost } = begin(t);
  line.onPing(clock.at + 60_000);
  pass(6000);
  assert.equal(lost(), 1);
});

test('a role that was stopped cancels its turns at once, reports it, and waits for one ping only', (t) => {
  const { clock, line, pass, lost, paused, told } = begin(t);
  clock.at += 60_000;
  line.check();
  assert.deepEqual([lost(), paused()], [0, 1]);
  assert.deepEqual(told, [[59_000, true]]);
  pass(4000);
  assert.equal(lost(), 0);
  pass(2000);
  assert.equal(lost(), 1);
  assert.equal(paused(), 1);
});

test('L6-07 a role that is stopped repeatedly while the supervisor is silent gets no second grace period', (t) => {
  const { clock, line, lost, paused } = begin(t);
  for (let i = 0; i < 20 && lost() === 0; i += 1) {
    clock.at += 3100;
    line.check();
  }
  assert.ok(clock.at <= 4 * 3100 + 5000, `it ran for ${clock.at} ms`);
  assert.deepEqual([lost(), paused()], [1, 1], 'and the turns were cancelled at the first check after five seconds');
});

test('L6-07 a ping that waited while the role was stopped counts from when it was sent', (t) => {
  const { clock, line, waiting, lost, paused } = begin(t);
  clock.at += 60_000;
  waiting.push(1000, 2000, 3000);
  line.check();
  assert.deepEqual([lost(), paused()], [0, 1]);
  line.onPing(4000);
  clock.at += 5100;
  line.check();
  assert.equal(lost(), 1, 'nor does an old ping that is read later extend the timeout');
});

test("a machine that was suspended as a whole continues with the supervisor's next ping", (t) => {
  const { clock, line, pass, lost, paused } = begin(t);
  clock.at += 11_000;
  line.check();
  line.onPing(clock.at);
  pass(5000);
  assert.deepEqual([lost(), paused()], [0, 1]);
  pass(1000);
  assert.equal(lost(), 1);
});

test('a role that was late alone, while pings kept arriving, keeps its turns', (t) => {
  const { clock, line, waiting, lost, paused, told } = begin(t);
  clock.at += 8000;
  waiting.push(1000, 7000);
  line.check();
  assert.deepEqual([lost(), paused(), told], [0, 0, [[7000, false]]]);
});
