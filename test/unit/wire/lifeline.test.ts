import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lifeline } from '../../../src/wire/lifeline.ts';

function begin(t: { after: (end: () => void) => void }) {
  const clock = { at: 0 };
  let lost = 0;
  const line = new Lifeline({ now: () => clock.at, onLost: () => (lost += 1) });
  line.hear();
  t.after(() => {
    line.stop();
  });
  const pass = (ms: number, step = 1000) => {
    for (const end = clock.at + ms; clock.at < end; ) {
      clock.at += step;
      line.look();
    }
  };
  return { line, clock, pass, lost: () => lost };
}

test('five seconds of silence are the end', (t) => {
  const { pass, lost } = begin(t);
  pass(5000);
  assert.equal(lost(), 0);
  pass(1000);
  assert.equal(lost(), 1);
});

test('a word now and then keeps it', (t) => {
  const { line, pass, lost } = begin(t);
  for (let i = 0; i < 20; i += 1) {
    pass(4000);
    line.hear();
  }
  assert.equal(lost(), 0);
});

test('a role that was held up itself waits anew', (t) => {
  const { line, clock, pass, lost } = begin(t);
  clock.at += 60_000;
  line.look();
  assert.equal(lost(), 0);
  pass(4000);
  assert.equal(lost(), 0);
  pass(2000);
  assert.equal(lost(), 1);
});
