/**
 * What an operator gave up by name: only what can be given up, and only by its real name.
 *
 * Promise: a waived feature is put on all the same where the kernel has it; it only no longer refuses the start, and
 *          the layer is degraded as long as the server runs.
 * Proof:   test/unit/layers/2-waiver-check.test.ts, test/attacks/2-waivers.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';
import { neverWaived, waivable } from '../../policy/waivers.ts';

/** @throws `USAGE_WAIVER_REFUSED`, `USAGE_WAIVER_UNKNOWN` */
export function checkWaivers(accepted: readonly string[]): void {
  for (const name of accepted) {
    const never = neverWaived.find(([one]) => one === name);
    if (never !== undefined)
      throw new KwyreError(
        'USAGE_WAIVER_REFUSED',
        `--accept-weaker cannot give up ${never[0]}: ${never[1]}`,
        'leave it out; ./kwyre doctor says what this machine can enforce',
      );
    if (!waivable.some((feature) => feature === name))
      throw new KwyreError(
        'USAGE_WAIVER_UNKNOWN',
        '--accept-weaker does not know that name',
        `it takes one of ${waivable.join(', ')}`,
      );
  }
}

/** What to do when a required feature is missing, with the waiver where there is one. */
export function remedyFor(feature: string): string {
  const start = 'run on Linux 5.13 or later outside restrictive containers';
  return waivable.some((one) => one === feature)
    ? `${start}, or give this one up by name: --accept-weaker=${feature}`
    : `${start}; this one cannot be given up`;
}
