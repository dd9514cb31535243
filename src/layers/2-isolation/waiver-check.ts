/**
 * Checks `--accept-weaker`: which features an operator may waive by name.
 *
 * Promise: a waived feature is still applied if the kernel supports it. Otherwise the server starts without it, and the
 *          layer stays degraded.
 * Proof:   test/unit/layers/2-waiver-check.test.ts, test/attacks/2-waivers.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';
import { neverWaived, waivable } from '../../policy/waivers.ts';

/** Checks the names of waived features. @throws `USAGE_WAIVER_REFUSED`, `USAGE_WAIVER_UNKNOWN` */
export function checkWaivers(accepted: readonly string[]): void {
  for (const name of accepted) {
    const never = neverWaived.find(([one]) => one === name);
    if (never !== undefined)
      throw new KwyreError(
        'USAGE_WAIVER_REFUSED',
        `--accept-weaker cannot waive ${never[0]}: ${never[1]}`,
        'start without it; ./kwyre doctor shows what this machine can enforce',
      );
    if (!waivable.some((feature) => feature === name))
      throw new KwyreError(
        'USAGE_WAIVER_UNKNOWN',
        '--accept-weaker names an unknown feature',
        `use one of ${waivable.join(', ')}`,
      );
  }
}

/** Returns the remedy for a missing required feature, with the waiver if the feature can be waived. */
export function remedyFor(feature: string): string {
  const start = 'run on Linux 5.13 or later, outside restrictive containers';
  return waivable.some((one) => one === feature)
    ? `${start}, or waive this feature: --accept-weaker=${feature}`
    : `${start}; this feature cannot be waived`;
}
