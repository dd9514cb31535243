/**
 * How much of the machine conversations may take: all of them, those of one token, and a single one.
 *
 * Promise: what is full refuses or lets the oldest idle one go; nothing is ever merged.
 * Proof:   test/unit/layers/5-vault.test.ts
 * @module
 */

/** What conversations may take; times in milliseconds of a clock that never goes back. */
export type Quotas = {
  readonly sessions: number;
  /** Conversations with an id that one token may hold. */
  readonly sessionsPerToken: number;
  /** Conversations of clients that send their history again, kept for one token. */
  readonly continuedPerToken: number;
  /** Sealed bytes of all conversations. */
  readonly sealedBytes: number;
  readonly bytesPerSession: number;
  readonly idleMs: number;
  /** 0: a request without an id is wiped when it ends. */
  readonly continueMs: number;
  /** Ids that were let go and still answer 410, and for how long. */
  readonly tombstones: number;
  readonly tombstoneMs: number;
};

export const usualQuotas: Quotas = {
  sessions: 16_000,
  sessionsPerToken: 12_000,
  continuedPerToken: 4000,
  sealedBytes: 1 << 30,
  bytesPerSession: 1 << 30,
  idleMs: 3_600_000,
  continueMs: 600_000,
  tombstones: 4096,
  tombstoneMs: 3_600_000,
};

/** The share of the free memory that sealed conversations may take when nobody says otherwise. */
export function sealedShare(availableBytes: number): number {
  return Math.max(64 << 20, Math.min(4 * (1 << 30), Math.floor(availableBytes / 4)));
}
