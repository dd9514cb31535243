/**
 * Decides when detections become a violation. A scan with a detection adds 2, a clean scan subtracts 1, and a count of
 * 4 confirms the violation.
 *
 * Promise: two scans in a row with a detection confirm a violation, and so does a recurring detection. A single scan
 *          never does (L6-19, L6-21).
 * Proof:   test/unit/layers/6-confirmation-counter.test.ts
 * @module
 */

const scanWeights = { detection: 2, clean: -1, confirmed: 4 } as const;

/** Returns the count after one more scan. Several detections in one scan count once. */
export function nextCount(count: number, detected: boolean): number {
  return Math.min(scanWeights.confirmed, Math.max(0, count + (detected ? scanWeights.detection : scanWeights.clean)));
}

/** Returns whether a count confirms a violation. */
export function isConfirmed(count: number): boolean {
  return count >= scanWeights.confirmed;
}
