/**
 * What the answers of a probe mean: only a lock's own answer is held.
 * @module
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import {
  describeAnswer,
  blockedAlone,
  isBlocked,
  judgeAnswers,
  locks,
  attemptsFor,
  waysOut,
  featuresToDisable,
} from '../../../src/layers/2-isolation/probe/probe-verdict.ts';
import type { Lock } from '../../../src/layers/2-isolation/probe/probe-verdict.ts';
import { permissiveErrno } from '../../../src/layers/2-isolation/probe/permissive-filter.ts';

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
  for (const answer of [EPERM, EACCES, ENETUNREACH, EHOSTUNREACH, ENOSYS, permissiveErrno])
    assert.ok(isBlocked(answer), String(answer));
  for (const answer of [0, ECONNREFUSED, ETIMEDOUT, EINPROGRESS, EAGAIN, ENOENT, EAFNOSUPPORT, -1])
    assert.ok(!isBlocked(answer), String(answer));
});

test('no two answers read the same where they mean different things', () => {
  assert.match(describeAnswer(ECONNREFUSED), /got there/);
  assert.match(describeAnswer(ETIMEDOUT), /time-out/);
  assert.match(describeAnswer(0), /done/);
  assert.match(describeAnswer(ENOENT), /no lock gives/);
});

test('what was asked and not answered is missing, never held', () => {
  assert.deepEqual(
    judgeAnswers(
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
    assert.deepEqual([...featuresToDisable(alone), ...locks[alone]].sort(), [...all].sort());
    assert.ok(blockedAlone[alone].every((way) => way in waysOut) && attemptsFor(alone).length > 0);
  }
  assert.deepEqual(featuresToDisable(undefined), []);
  assert.deepEqual(attemptsFor(undefined), Object.keys(waysOut));
});
