/**
 * Landlock as features of the jail: which of them a kernel gives, and what was seen when they were put on.
 *
 * Promise: the start and `kwyre doctor` ask the same function; a part that the kernel lacks is `none` with the Linux that
 *          has it, and what can be tried without harm is tried before it is called held.
 * Limits:  shortening files and commands to devices are not tried: that the kernel took the rule is all there is to see.
 * Proof:   test/unit/layers/2-landlock.test.ts, test/attacks/2-jail.test.ts
 * @module
 */
import { closeSync, openSync } from 'node:fs';
import type { Outcome } from '../../base/verdict.ts';
import { LinuxError } from '../../linux/ffi.ts';
import type { LandlockPartName, PathPlan } from '../../linux/landlock.ts';
import { landlockAbi, landlockParts, partsOf, restrictSelf } from '../../linux/landlock.ts';
import { bindSocket, closeDescriptor, families, inetAddress, makeSocket } from '../../linux/socket.ts';
import type { LandlockFeature } from '../../policy/policy.ts';

/** Each feature: its part of Landlock, and what it holds. */
export const landlockFeatures: Readonly<Record<LandlockFeature, readonly [part: LandlockPartName, holds: string]>> = {
  'landlock-files': ['files', 'no file outside the plan'],
  'landlock-truncating': ['truncating', 'no file shortened'],
  'landlock-ports': ['ports', 'no TCP port'],
  'landlock-devices': ['devices', 'no command to a device'],
  'landlock-scopes': ['scopes', 'no signal and no abstract socket outside'],
};
const names = Object.keys(landlockFeatures) as LandlockFeature[];

/** What a kernel's ABI gives of each feature; pure. */
export function landlockExtents(abi: number): readonly (Required<Outcome> & { readonly feature: LandlockFeature })[] {
  const has = partsOf(abi);
  return names.map((feature) => {
    const [part, holds] = landlockFeatures[feature];
    const { abi: since, linux } = landlockParts[part];
    if (has.includes(part)) return { feature, status: 'full', got: `Landlock ABI ${abi}: ${holds}`, reason: '' };
    return { feature, status: 'none', got: abi === 0 ? 'no Landlock in this kernel' : `Landlock ABI ${abi} has no part for it`, reason: abi === 0 ? 'Linux 5.13 or later with the Landlock module has it' : `ABI ${since} has it, Linux ${linux}; the filter refuses the calls for it in every sealed role` };
  });
}

/** What must be refused now, and is harmless where it is not. */
const trials: Readonly<Partial<Record<LandlockPartName, readonly [words: string, code: string, act: (supervisor: number) => void]>>> = {
  files: ['opening the root folder', 'EACCES', () => {
    closeSync(openSync('/', 'r'));
  }],
  ports: ['taking a port', 'EACCES', () => {
    const fd = makeSocket(families.inet);
    try {
      bindSocket(fd, inetAddress([127, 0, 0, 1], 0));
    } finally {
      closeDescriptor(fd);
    }
  }],
  scopes: ['a signal to the supervisor', 'EPERM', (supervisor) => {
    process.kill(supervisor, 0);
  }],
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
export function landlockSelf(plan: PathPlan, wanted: readonly LandlockFeature[], supervisor: number): (feature: LandlockFeature) => Outcome {
  const extents = landlockExtents(landlockAbi());
  const parts = extents.filter(({ feature, status }) => status === 'full' && wanted.includes(feature)).map(({ feature }) => landlockFeatures[feature][0]);
  let refused: LinuxError | undefined;
  try {
    if (parts.length > 0) restrictSelf(plan, parts);
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    refused = error;
  }
  return (feature) => {
    const extent = extents.find((one) => one.feature === feature);
    if (extent === undefined || extent.status !== 'full') return extent ?? { got: 'unknown', status: 'none' };
    if (refused !== undefined) throw refused;
    const trial = trials[landlockFeatures[feature][0]];
    // A supervisor outside of this process's namespace has no number here, and 0 would mean our own group.
    if (trial === undefined || (feature === 'landlock-scopes' && supervisor === 0)) return { ...extent, got: `${extent.got}; the kernel took the rule` };
    const [words, code, act] = trial;
    const answer = answerOf(() => {
      act(supervisor);
    });
    if (answer === code) return { ...extent, got: `${extent.got}; ${words} was tried and refused` };
    return { got: `${extent.got}, but ${words} was tried and not refused by it (${answer})`, status: 'none', reason: 'this kernel does not do what it says' };
  };
}
