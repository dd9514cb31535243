/**
 * The rate limit on wrong tokens.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failedLoginLimits, FailedLogins } from '../../../src/layers/1-loopback/failed-logins.ts';

test('a burst is free, then waits double up to the maximum, then points return', () => {
  const attempts = new FailedLogins(0);
  for (let i = 0; i < failedLoginLimits.burst; i += 1) assert.equal(attempts.fail(0), 0);
  assert.deepEqual(
    Array.from({ length: 11 }, () => attempts.fail(0)),
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300],
  );
  assert.equal(attempts.fail(failedLoginLimits.refillMs), 0, 'one point came back');
  assert.equal(attempts.fail(failedLoginLimits.refillMs), 300, 'and only one');
  const later = failedLoginLimits.refillMs * 100;
  for (let i = 0; i < failedLoginLimits.burst; i += 1) assert.equal(attempts.fail(later), 0);
  assert.equal(attempts.fail(later), 1, 'after calm the waits begin small again');
  assert.equal(attempts.failures, failedLoginLimits.burst * 2 + 14);
});

test('a clock that goes backwards returns no points', () => {
  const attempts = new FailedLogins(1000);
  for (let i = 0; i < failedLoginLimits.burst; i += 1) attempts.fail(1000);
  assert.ok(attempts.fail(0) > 0);
});
