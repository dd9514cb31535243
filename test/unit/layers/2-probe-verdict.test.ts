/**
 * What the answers of a probe mean: only a lock's own answer is held.
 * @module
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import {
  answerWords,
  heldAlone,
  isHeld,
  judge,
  locks,
  waysFor,
  waysOut,
  withoutOthers,
} from '../../../src/layers/2-isolation/probe/probe-verdict.ts';
import type { Lock } from '../../../src/layers/2-isolation/probe/probe-verdict.ts';
import { softened } from '../../../src/layers/2-isolation/probe/permissive-filter.ts';

const {
  EPERM,
  EACCES,
  ENETUNREACH,
  EHOSTUNREACH,
  ENOSYS,
  ECONNREFUSED,
  ETIMEDOUT,
  EINPROGRESS,
  EAGAIN,
  ENOENT,
  EAFNOSUPPORT,
} = constants.errno;

test("a lock's own errors are held, everything else is out", () => {
  for (const answer of [EPERM, EACCES, ENETUNREACH, EHOSTUNREACH, ENOSYS, softened])
    assert.ok(isHeld(answer), String(answer));
  for (const answer of [0, ECONNREFUSED, ETIMEDOUT, EINPROGRESS, EAGAIN, ENOENT, EAFNOSUPPORT, -1])
    assert.ok(!isHeld(answer), String(answer));
});

test('no two answers read the same where they mean different things', () => {
  assert.match(answerWords(ECONNREFUSED), /got there/);
  assert.match(answerWords(ETIMEDOUT), /time-out/);
  assert.match(answerWords(0), /done/);
  assert.match(answerWords(ENOENT), /no lock gives/);
});

test('what was asked and not answered is missing, never held', () => {
  assert.deepEqual(
    judge(
      ['tcp', 'udp', 'dns'],
      new Map([
        ['tcp', EPERM],
        ['udp', 0],
        ['other', 0],
      ]),
    ),
    { out: ['udp'], missing: ['dns'] },
  );
});

test('one lock alone: every other one is left out, and only what it can hold is asked', () => {
  const all = Object.values(locks).flat();
  for (const alone of Object.keys(locks) as Lock[]) {
    assert.deepEqual([...withoutOthers(alone), ...locks[alone]].sort(), [...all].sort());
    assert.ok(heldAlone[alone].every((way) => way in waysOut) && waysFor(alone).length > 0);
  }
  assert.deepEqual(withoutOthers(undefined), []);
  assert.deepEqual(waysFor(undefined), Object.keys(waysOut));
});
