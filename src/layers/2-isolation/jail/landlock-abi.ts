/**
 * What each Landlock ABI supports, feature by feature. Pure, so that `kwyre doctor` can use it before native code
 * loads.
 *
 * Promise: server startup and `kwyre doctor` use the same function. A feature that the kernel lacks is not requested;
 *          it is reported as `none`, with the Linux version that introduced it.
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
 * The features by ABI. A kernel with a newer ABI is treated as if it had the newest one listed here. Moving files
 * between folders (`REFER`) needs no bit: every ABI refuses it unless a rule allows it.
 */
export const landlockFeatures: Readonly<Record<LandlockFeature, Part>> = {
  'landlock-files': { ...none, holds: 'no file outside the policy', abi: 1, linux: '5.13', files: (1n << 13n) - 1n },
  'landlock-truncating': { ...none, holds: 'no file truncated', abi: 3, linux: '6.2', files: 1n << 14n },
  'landlock-ports': { ...none, holds: 'no TCP bind or connect', abi: 4, linux: '6.7', network: 3n },
  'landlock-devices': { ...none, holds: 'no ioctl on a device', abi: 5, linux: '6.10', files: 1n << 15n },
  'landlock-scopes': {
    ...none,
    holds: 'no signal or abstract Unix socket outside the domain',
    abi: 6,
    linux: '6.12',
    scopes: 3n,
  },
};
const names = Object.keys(landlockFeatures) as LandlockFeature[];

/** Returns the extent to which an ABI supports each feature. */
export function landlockSupport(abi: number): readonly (Required<Outcome> & { readonly feature: LandlockFeature })[] {
  return names.map((feature) => {
    const { holds, abi: since, linux } = landlockFeatures[feature];
    if (abi >= since) return { feature, status: 'full', observed: `Landlock ABI ${abi}: ${holds}`, reason: '' };
    if (abi === 0)
      return {
        feature,
        status: 'none',
        observed: 'this kernel has no Landlock',
        reason: 'it needs Linux 5.13 or later with the Landlock module',
      };
    return {
      feature,
      status: 'none',
      observed: `Landlock ABI ${abi} does not support it`,
      reason: `it needs ABI ${since} (Linux ${linux}); the final filter blocks the same calls in every role`,
    };
  });
}

/** Returns the combined access bits of these features. */
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
