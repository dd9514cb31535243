/**
 * Applies Landlock to this process as far as the kernel supports it, and reports for each feature what is enforced.
 *
 * Promise: a feature that can be tested without harm is tested before it is reported as enforced.
 * Limits:  truncation and device ioctls are not tested; the report says only that the kernel accepted the rule.
 * Proof:   test/attacks/2-jail.test.ts, test/attacks/2-waivers.test.ts
 * @module
 */
import { closeSync, openSync } from 'node:fs';
import type { Outcome } from '../../../base/verdict.ts';
import { LinuxError } from '../../../linux/ffi.ts';
import type { PathPlan } from '../../../linux/landlock.ts';
import { landlockAbi, restrictSelf } from '../../../linux/landlock.ts';
import { bindSocket, closeDescriptor, families, inetAddress, makeSocket } from '../../../linux/sockets/socket.ts';
import type { LandlockFeature } from '../../../policy/role-policy.ts';
import { accessBits, landlockSupport } from './landlock-abi.ts';

/** Actions that Landlock must refuse, and that are harmless if it does not. */
const tests: Readonly<
  Partial<Record<LandlockFeature, readonly [words: string, code: string, act: (supervisor: number) => void]>>
> = {
  'landlock-files': [
    'opening the root folder',
    'EACCES',
    () => {
      closeSync(openSync('/', 'r'));
    },
  ],
  'landlock-ports': [
    'binding a port',
    'EACCES',
    () => {
      const fd = makeSocket(families.inet);
      try {
        bindSocket(fd, inetAddress([127, 0, 0, 1], 0));
      } finally {
        closeDescriptor(fd);
      }
    },
  ],
  'landlock-scopes': [
    'a signal to the supervisor',
    'EPERM',
    (supervisor) => {
      process.kill(supervisor, 0);
    },
  ],
};

/** Returns the error code of an action, or `done`. */
function resultOf(act: () => void): string {
  try {
    act();
    return 'done';
  } catch (error) {
    const { code } = error as { readonly code?: string };
    if (code === undefined) throw error;
    return code;
  }
}

/**
 * Applies the requested features once.
 * @returns a function that tests a feature and returns its outcome
 */
export function applyLandlock(
  plan: PathPlan,
  wanted: readonly LandlockFeature[],
  supervisor: number,
): (feature: LandlockFeature) => Outcome {
  const extents = landlockSupport(landlockAbi());
  const given = extents
    .filter(({ feature, status }) => status === 'full' && wanted.includes(feature))
    .map(({ feature }) => feature);
  let refused: LinuxError | undefined;
  try {
    if (given.length > 0) restrictSelf(plan, accessBits(given));
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    refused = error;
  }
  return (feature) => {
    const extent = extents.find((one) => one.feature === feature);
    if (extent === undefined || extent.status !== 'full') return extent ?? { observed: 'unknown', status: 'none' };
    if (refused !== undefined) throw refused;
    const test = tests[feature];
    // A supervisor outside this pid namespace appears as pid 0, which kill() would interpret as this process group.
    if (test === undefined || (feature === 'landlock-scopes' && supervisor === 0))
      return { ...extent, observed: `${extent.observed}; the kernel accepted the rule` };
    const [words, code, act] = test;
    const answer = resultOf(() => {
      act(supervisor);
    });
    // Seccomp runs before Landlock. A new gateway and engine inherit the supervisor's filter, which refuses bind.
    if (answer === 'EPERM' && code !== 'EPERM')
      return {
        ...extent,
        observed: `${extent.observed}; the kernel accepted the rule, and an inherited filter refused ${words} first`,
      };
    if (answer === code) return { ...extent, observed: `${extent.observed}; ${words} was tested and refused` };
    return {
      observed: `${extent.observed}, but ${words} was tested and not refused (${answer})`,
      status: 'none',
      reason: 'the kernel accepted the rule but does not enforce it',
    };
  };
}
