/**
 * What the answers of a probe mean: an attempt is blocked if the jail returned the error.
 * @module
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { egressAttempts } from '../../../src/layers/2-isolation/probe/egress-attempts.ts';
import {
  describeAnswer,
  blockedAlone,
  isBlocked,
  judgeAnswers,
  locks,
  attemptsFor,
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

test('errors that a jail returns mean blocked, everything else escaped', () => {
  for (const answer of [EPERM, EACCES, ENETUNREACH, EHOSTUNREACH, ENOSYS, permissiveErrno])
    assert.ok(isBlocked(answer), String(answer));
  for (const answer of [0, ECONNREFUSED, ETIMEDOUT, EINPROGRESS, EAGAIN, ENOENT, EAFNOSUPPORT, -1])
    assert.ok(!isBlocked(answer), String(answer));
});

test('answers with different meanings read differently', () => {
  assert.match(describeAnswer(ECONNREFUSED), /the packet arrived/);
  assert.match(describeAnswer(ETIMEDOUT), /timed out/);
  assert.match(describeAnswer(0), /succeeded/);
  assert.match(describeAnswer(ENOENT), /the jail never returns/);
});

test('an attempt without an answer is missing, never blocked', () => {
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

test('one mechanism alone: every other one is left out, and it faces the attempts that it can block', () => {
  const all = Object.values(locks).flat();
  for (const alone of Object.keys(locks) as Lock[]) {
    assert.deepEqual([...featuresToDisable(alone), ...locks[alone]].sort(), [...all].sort());
    assert.ok(blockedAlone[alone].every((way) => way in egressAttempts) && attemptsFor(alone).length > 0);
  }
  assert.deepEqual(featuresToDisable(undefined), []);
  assert.deepEqual(attemptsFor(undefined), Object.keys(egressAttempts));
});
