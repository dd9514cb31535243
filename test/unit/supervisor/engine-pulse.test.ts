import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxUnanswered, EnginePulse } from '../../../src/supervisor/roles/engine-pulse.ts';
import { encodeEnginePong, parseEnginePong } from '../../../src/wire/control-payloads.ts';

function make(longestMs = 60_000) {
  let now = 0;
  const pulse = new EnginePulse(longestMs, () => now);
  /** So many seconds, one word each; gives the second in which the engine has to end. */
  const speak = (seconds: number, answer?: number | null): number | undefined => {
    for (let i = 1; i <= seconds; i += 1) {
      now += 1000;
      if (pulse.ping()) return i;
      if (answer !== undefined) pulse.answered({ dueMs: answer ?? undefined });
    }
    return undefined;
  };
  return {
    pulse,
    speak,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

test('an engine that answers lives, with conversations that are due or without', () => {
  const { speak } = make();
  assert.equal(speak(1000, 0), undefined);
  assert.equal(speak(1000, null), undefined);
  assert.equal(speak(1000, 5000), undefined);
});

test('one that stands still ends a few words after its next conversation was due', () => {
  const { pulse, speak } = make();
  pulse.answered({ dueMs: 3500 });
  assert.equal(speak(100), 4 + maxUnanswered);
});

test('what it said last cannot put that off beyond the longest time', () => {
  for (const dueMs of [undefined, 0xffff_fff0]) {
    const { pulse, speak } = make(10_000);
    pulse.answered({ dueMs });
    assert.equal(speak(100), 10 + maxUnanswered);
  }
});

test('a machine that pauses as a whole costs one word', () => {
  const { pulse, speak, pass } = make();
  pulse.answered({ dueMs: 1000 });
  pass(3_600_000);
  assert.equal(speak(1), undefined);
  pulse.answered({ dueMs: 0 });
  assert.equal(speak(maxUnanswered), undefined);
  assert.equal(speak(1), 1);
});

test('before its first answer nothing is due', () => {
  assert.equal(make().speak(1000), undefined);
});

test('on the wire it is four bytes, and nothing else', () => {
  for (const dueMs of [undefined, 0, 1, 3_600_000])
    assert.deepEqual(parseEnginePong(encodeEnginePong({ dueMs })), { dueMs });
  assert.deepEqual(parseEnginePong(encodeEnginePong({ dueMs: -5 })), { dueMs: 0 });
  assert.deepEqual(parseEnginePong(encodeEnginePong({ dueMs: 1.5 })), { dueMs: 2 });
  for (const length of [0, 3, 5, 100])
    assert.throws(
      () => parseEnginePong(Buffer.alloc(length)),
      (error: unknown) => (error as { code?: string }).code === 'WIRE_MESSAGE_SHAPE',
    );
});
