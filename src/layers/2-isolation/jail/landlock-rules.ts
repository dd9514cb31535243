/**
 * Puts Landlock on this process, as far as the kernel has it, and says what was seen of each feature.
 *
 * Promise: what can be tried without harm is tried before it is called held.
 * Limits:  shortening files and commands to devices are not tried: that the kernel took the rule is all there is to
 *          see.
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

/** What must be refused now, and is harmless where it is not. */
const trials: Readonly<
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
    'taking a port',
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

/** What a trial got: an error's code, or `done`. */
function answerOf(act: () => void): string {
  try {
    act();
    return 'done';
  } catch (error) {
    const { code } = error as { readonly code?: string };
    if (code === undefined) throw error;
    return code;
  }
}

/** Puts on what the kernel has of these features, once; gives what came of each. */
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
    if (extent === undefined || extent.status !== 'full') return extent ?? { got: 'unknown', status: 'none' };
    if (refused !== undefined) throw refused;
    const trial = trials[feature];
    // A supervisor outside of this process's namespace has no number here, and 0 would mean our own group.
    if (trial === undefined || (feature === 'landlock-scopes' && supervisor === 0))
      return { ...extent, got: `${extent.got}; the kernel took the rule` };
    const [words, code, act] = trial;
    const answer = answerOf(() => {
      act(supervisor);
    });
    // A filter answers before Landlock is asked: the supervisor's own one, which a fresh pair inherits, refuses ports.
    if (answer === 'EPERM' && code !== 'EPERM')
      return {
        ...extent,
        got: `${extent.got}; the kernel took the rule, and an inherited filter refused ${words} before it`,
      };
    if (answer === code) return { ...extent, got: `${extent.got}; ${words} was tried and refused` };
    return {
      got: `${extent.got}, but ${words} was tried and not refused by it (${answer})`,
      status: 'none',
      reason: 'this kernel does not do what it says',
    };
  };
}
