/**
 * How much of the machine conversations may take: all of them, those of one token, and a single one.
 *
 * Promise: what is full refuses or lets an idle one go (`per-token-usage.ts` says whose); nothing is ever merged.
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

export const defaultQuotas: Quotas = {
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

/**
 * What one token may hold sealed: everything while nobody else holds a conversation, half of it otherwise. The person's
 * own has no such limit.
 */
export function tokenByteLimit(sealedBytes: number, holders: number): number {
  return holders > 1 ? Math.floor(sealedBytes / 2) : sealedBytes;
}

/** What a state says of each of its tokens besides keys and values, at most. */
const tokenOverhead = 64;

/**
 * What one conversation may take: the state of a full context, and the words of two of the largest requests.
 * @param tokenBytes - keys and values of one token; 0 where that cannot be told
 */
export function sessionByteLimit(
  sealedBytes: number,
  tokenBytes: number,
  contextTokens: number,
  bodyBytes: number,
): number {
  return tokenBytes === 0
    ? sealedBytes
    : Math.min(sealedBytes, (tokenBytes + tokenOverhead) * contextTokens + 2 * bodyBytes);
}

/** The share of the free memory that sealed conversations may take when nobody says otherwise. */
export function defaultSealedBytes(availableBytes: number): number {
  return Math.max(64 << 20, Math.min(4 * (1 << 30), Math.floor(availableBytes / 4)));
}
