/**
 * How much memory conversations may take: all of them, those of one token, and a single one.
 *
 * Promise: a full quota refuses or evicts an idle conversation (`per-token-usage.ts` says which); none are ever merged.
 * Proof:   test/unit/layers/5-vault.test.ts
 * @module
 */

/** Limits of conversations; times in milliseconds. */
export type Quotas = {
  readonly sessions: number;
  /** Conversations with an id, per token. */
  readonly sessionsPerToken: number;
  /** Conversations of clients that send their history again, per token. */
  readonly continuedPerToken: number;
  /** Sealed bytes of all conversations. */
  readonly sealedBytes: number;
  readonly bytesPerSession: number;
  readonly idleMs: number;
  /** The same for conversations without an id; 0: they are wiped when the request ends. */
  readonly continueMs: number;
  /** Ids of wiped conversations that still answer 410, and for how long. */
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
 * Returns the sealed bytes of one token: all while no other token owns a conversation, otherwise half. The person's
 * token has no such limit.
 */
export function tokenByteLimit(sealedBytes: number, holders: number): number {
  return holders > 1 ? Math.floor(sealedBytes / 2) : sealedBytes;
}

/** The most bytes that a saved state takes per token besides keys and values. */
const tokenOverhead = 64;

/**
 * Returns the sealed bytes of one conversation: the state of a full context, and the text of two of the largest
 * requests. @param tokenBytes - keys and values of one token; 0 if unknown
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

/** Returns the default for sealed bytes: a quarter of the free memory, within bounds. */
export function defaultSealedBytes(availableBytes: number): number {
  return Math.max(64 << 20, Math.min(4 * (1 << 30), Math.floor(availableBytes / 4)));
}
