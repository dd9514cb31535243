/**
 * How detections become a violation: +2 for a scan with one, -1 for a clean scan, 4 confirms.
 *
 * Promise: two scans in a row confirm, a single one never does, and a detection that recurs does too (L6-19, L6-21).
 * Proof:   test/unit/layers/6-confirmation-counter.test.ts
 * @module
 */

const scanWeights = { detection: 2, clean: -1, confirmed: 4 } as const;

/** Returns the count after one more scan; several detections in one scan count once. */
export function nextCount(count: number, detected: boolean): number {
  return Math.min(scanWeights.confirmed, Math.max(0, count + (detected ? scanWeights.detection : scanWeights.clean)));
}

/** Returns whether a count is a violation. */
export function isConfirmed(count: number): boolean {
  return count >= scanWeights.confirmed;
}
