/**
 * What each ABI of Landlock gives, feature by feature, as a table; pure, so that `kwyre doctor` can ask before it loads
 * native code.
 *
 * Promise: the start and `kwyre doctor` ask the same function. What a kernel does not have is never asked of it, is
 *          `none` with the Linux that has it, and never counts as held.
 * Source:  https://docs.kernel.org/userspace-api/landlock.html
 * Proof:   test/unit/layers/2-landlock-rules.test.ts
 * @module
 */
import type { Outcome } from '../../../base/verdict.ts';
import type { Handled } from '../../../linux/landlock.ts';
import type { LandlockFeature } from '../../../policy/role-policy.ts';

type Part = Handled & { readonly holds: string; readonly abi: number; readonly linux: string };
const none = { files: 0n, network: 0n, scopes: 0n } as const;

/**
 * Pinned: a newer kernel is used as the last one known here. Moving a file between folders needs no bit (`REFER`):
 *         every
 * ruleset of every ABI refuses it unless it is allowed.
 */
export const landlockFeatures: Readonly<Record<LandlockFeature, Part>> = {
  'landlock-files': { ...none, holds: 'no file outside the plan', abi: 1, linux: '5.13', files: (1n << 13n) - 1n },
  'landlock-truncating': { ...none, holds: 'no file shortened', abi: 3, linux: '6.2', files: 1n << 14n },
  'landlock-ports': { ...none, holds: 'no TCP port', abi: 4, linux: '6.7', network: 3n },
  'landlock-devices': { ...none, holds: 'no command to a device', abi: 5, linux: '6.10', files: 1n << 15n },
  'landlock-scopes': { ...none, holds: 'no signal and no abstract socket outside', abi: 6, linux: '6.12', scopes: 3n },
};
const names = Object.keys(landlockFeatures) as LandlockFeature[];

/** What a kernel's ABI gives of each feature. */
export function landlockSupport(abi: number): readonly (Required<Outcome> & { readonly feature: LandlockFeature })[] {
  return names.map((feature) => {
    const { holds, abi: since, linux } = landlockFeatures[feature];
    if (abi >= since) return { feature, status: 'full', got: `Landlock ABI ${abi}: ${holds}`, reason: '' };
    if (abi === 0)
      return {
        feature,
        status: 'none',
        got: 'no Landlock in this kernel',
        reason: 'Linux 5.13 or later with the Landlock module has it',
      };
    return {
      feature,
      status: 'none',
      got: `Landlock ABI ${abi} has no part for it`,
      reason: `ABI ${since} has it, Linux ${linux}; the filter refuses the calls for it in every sealed role`,
    };
  });
}

/** The bits of these features together. */
export function accessBits(features: readonly LandlockFeature[]): Handled {
  return features
    .map((feature) => landlockFeatures[feature])
    .reduce<Handled>(
      (sum, { files, network, scopes }) => ({
        files: sum.files | files,
        network: sum.network | network,
        scopes: sum.scopes | scopes,
      }),
      none,
    );
}
