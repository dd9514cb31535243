/**
 * How detections become a violation: +2 for a scan with one, -1 for a clean one, 4 confirms.
 *
 * Promise: two scans in a row confirm, one alone never does, and one that comes and goes does too (L6-19, L6-21).
 * Proof:   test/unit/layers/6-confirmation-counter.test.ts
 * @module
 */

export const scanWeights = { detection: 2, clean: -1, confirmed: 4 } as const;

/** The count after one more scan; several detections in one scan count once. */
export function nextCount(count: number, detected: boolean): number {
  return Math.min(scanWeights.confirmed, Math.max(0, count + (detected ? scanWeights.detection : scanWeights.clean)));
}

/** Whether a count is a violation; what is confirmed stays confirmed, since nothing counts on after it. */
export function isConfirmed(count: number): boolean {
  return count >= scanWeights.confirmed;
}
