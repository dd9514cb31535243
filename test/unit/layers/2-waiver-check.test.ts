/**
 * What an operator may waive by name: known features, and never one that the promise needs.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KwyreError } from '../../../src/base/errors.ts';
import { checkWaivers, remedyFor } from '../../../src/layers/2-isolation/waiver-check.ts';
import { strictFeatures } from '../../../src/policy/shared-rights.ts';
import { neverWaived, waivable } from '../../../src/policy/waivers.ts';

test('the filter, no_new_privs, the address and layer 4 can never be waived', () => {
  for (const name of ['seccomp-start', 'seccomp-seal', 'no-new-privs', 'not-dumpable', 'seccomp', 'bind', 'model']) {
    assert.throws(
      () => {
        checkWaivers([name]);
      },
      { code: 'USAGE_WAIVER_REFUSED', exitCode: 2 },
    );
    assert.doesNotMatch(remedyFor(name), /--accept-weaker/);
  }
});

test('an unknown name is a usage error that lists the known ones', () => {
  for (const name of ['landlock', 'layer-2', '', 'LANDLOCK-FILES', 'constructor']) {
    assert.throws(
      () => {
        checkWaivers(['own-user', name]);
      },
      (error: unknown) =>
        error instanceof KwyreError &&
        error.code === 'USAGE_WAIVER_UNKNOWN' &&
        error.exitCode === 2 &&
        waivable.every((feature) => error.remedy.includes(feature)),
    );
  }
});

test('every feature of the jail is in exactly one list', () => {
  const never = neverWaived.map(([name]) => name);
  for (const feature of Object.keys(strictFeatures))
    assert.notEqual(
      never.includes(feature),
      waivable.some((one) => one === feature),
      feature,
    );
  checkWaivers(waivable);
  for (const feature of waivable) assert.match(remedyFor(feature), new RegExp(`--accept-weaker=${feature}$`));
});
