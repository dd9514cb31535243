/**
 * Tracks the bytes and slots that conversations take, and evicts conversations when there is no room for another.
 *
 * Promise: a token evicts only what `per-token-usage.ts` allows. If nothing can be evicted, the request is refused.
 * Proof:   test/unit/layers/5-shares.test.ts, test/unit/layers/5-vault.test.ts
 * @module
 */
import type { Measure, TokenOwner } from './per-token-usage.ts';
import { PerTokenUsage } from './per-token-usage.ts';
import type { Quotas } from './quota.ts';
import { tokenByteLimit } from './quota.ts';
import type { Session, SessionKind } from './session.ts';

export class VaultSpace {
  readonly #quotas: Quotas;
  readonly #evict: (session: Session, now: number) => void;
  readonly #usage = new PerTokenUsage();
  #sealedBytes = 0;

  /** @param evict - wipes a conversation; must itself call {@link remove} and {@link account} */
  constructor(quotas: Quotas, evict: (session: Session, now: number) => void) {
    this.#quotas = quotas;
    this.#evict = evict;
  }

  /** Number of bytes that the sealed parts of all conversations take. */
  get sealedBytes(): number {
    return this.#sealedBytes;
  }

  /** Returns the number of conversations of a kind that a token holds. */
  sessionsOf(owner: TokenOwner, kind: SessionKind): number {
    return this.#usage.sessionsOf(owner, kind);
  }

  add(session: Session): void {
    this.#usage.add(session);
  }

  remove(session: Session): void {
    this.#usage.remove(session);
  }

  /** Marks a conversation as the most recently used, so that it is evicted last. */
  touch(session: Session): void {
    this.#usage.touch(session);
  }

  /** Adds to the sealed bytes that a conversation takes; a negative number subtracts. */
  account(session: Session, bytes: number): void {
    this.#sealedBytes += bytes;
    this.#usage.addBytes(session, bytes);
  }

  /** Evicts conversations until a token can seal `bytes` more bytes; returns `false` if that is not possible. */
  reserveBytes(owner: TokenOwner, bytes: number, now: number): boolean {
    if (!this.reserveOwnBytes(owner, bytes, now) || bytes > this.#quotas.sealedBytes) return false;
    while (this.#sealedBytes + bytes > this.#quotas.sealedBytes)
      if (!this.#makeRoom(owner, 'bytes', bytes, now)) return false;
    return true;
  }

  /** Like {@link reserveBytes}, but within the token's own limit, and evicts only that token's conversations. */
  reserveOwnBytes(owner: TokenOwner, bytes: number, now: number): boolean {
    const limit = tokenByteLimit(this.#quotas.sealedBytes, owner.operator ? 1 : this.#usage.ownersWith(owner));
    if (limit === this.#quotas.sealedBytes || bytes <= 0) return true;
    if (bytes > limit) return false;
    while (this.#usage.bytesOf(owner) + bytes > limit)
      if (!this.#evictOne(this.#usage.oldestIdle(owner), now)) return false;
    return true;
  }

  /** Evicts one conversation so that a token can begin another; returns `false` if none may be evicted. */
  freePlace(owner: TokenOwner, now: number): boolean {
    return this.#makeRoom(owner, 'sessions', 1, now);
  }

  /** Evicts a token's least recently used idle conversation of a kind, if there is one. */
  evictOldest(owner: TokenOwner, kind: SessionKind, now: number): void {
    this.#evictOne(this.#usage.oldestIdle(owner, kind), now);
  }

  #makeRoom(owner: TokenOwner, measure: Measure, more: number, now: number): boolean {
    const all = measure === 'bytes' ? this.#quotas.sealedBytes : this.#quotas.sessions;
    return this.#evictOne(this.#usage.evictionCandidate(owner, measure, all, more), now);
  }

  #evictOne(session: Session | undefined, now: number): boolean {
    if (session !== undefined) this.#evict(session, now);
    return session !== undefined;
  }
}
