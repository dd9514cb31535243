/**
 * Limits on the memory used by conversations: in total, per token, and per conversation.
 *
 * Promise: when a quota is full, an idle conversation is evicted (`per-token-usage.ts` decides which), or the new one
 *          is refused. Conversations are never merged.
 * Proof:   test/unit/layers/5-vault.test.ts
 * @module
 */

/** Limits on conversations; times are in milliseconds. */
export type Quotas = {
  readonly sessions: number;
  /** Maximum number of conversations with an id, per token. */
  readonly sessionsPerToken: number;
  /** Maximum number of conversations without an id, whose clients resend their history, per token. */
  readonly continuedPerToken: number;
  /** Maximum number of sealed bytes in all conversations together. */
  readonly sealedBytes: number;
  readonly bytesPerSession: number;
  readonly idleMs: number;
  /** Idle time of conversations without an id; if 0, they are wiped when the request ends. */
  readonly continueMs: number;
  /** Maximum number of remembered ids of wiped conversations, which are answered with 410 for `tombstoneMs`. */
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
 * Returns the limit on the sealed bytes of one token: the limit for all while no other token owns a conversation, and
 * otherwise half of it. The operator's token has no such limit.
 */
export function tokenByteLimit(sealedBytes: number, holders: number): number {
  return holders > 1 ? Math.floor(sealedBytes / 2) : sealedBytes;
}

/** Maximum number of bytes that a saved state takes per token, in addition to keys and values. */
const tokenOverhead = 64;

/**
 * Returns the limit on the sealed bytes of one conversation: the state of a full context, and the text of two requests
 * of the maximum size. @param tokenBytes - size of the keys and values of one token; 0 if unknown
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

/** Returns the default limit on sealed bytes: a quarter of the free memory, between 64 MiB and 4 GiB. */
export function defaultSealedBytes(availableBytes: number): number {
  return Math.max(64 << 20, Math.min(4 * (1 << 30), Math.floor(availableBytes / 4)));
}
