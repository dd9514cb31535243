/**
 * Keeps all conversations between their turns: encrypted, counted against quotas, found only by their owner, and gone
 * once wiped.
 *
 * Promise: an id is 128 random bits and bound to its owner. An unknown id and another owner's id get the same answer. A
 *          wipe destroys the key first, then overwrites the sealed parts, then frees the memory. A wiped conversation
 *          cannot be opened, sealed or found. A conversation with a running turn is never idle.
 * Trust:   the time is an argument, from a clock that never goes back; nothing here waits or schedules.
 * Proof:   test/unit/layers/5-vault.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import { copyBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import { LinuxError } from '../../linux/ffi.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { wholePages } from '../../linux/memory/mapped-memory.ts';
import type { Fingerprint } from './history-hash.ts';
import { FingerprintIndex } from './history-hash.ts';
import type { KeyArena, KeySlot } from './key-arena.ts';
import type { TokenOwner } from './per-token-usage.ts';
import type { Quotas } from './quota.ts';
import type { WipeObserver } from './sealed-buffer.ts';
import { SealedBuffer } from './sealed-buffer.ts';
import type { SessionPart } from './session-cipher.ts';
import { SessionCipher } from './session-cipher.ts';
import type { EndReason, Session, SessionFacts, SessionKind } from './session.ts';
import { beginSession, factsOf, sealedBytesOf } from './session.ts';
import { Tombstones } from './tombstones.ts';
import { VaultSpace } from './vault-space.ts';

/** The result of a lookup by id. `gone`: the conversation was wiped, and its owner may be told why. */
type Lookup =
  | { readonly kind: 'found'; readonly session: Session }
  | { readonly kind: 'gone'; readonly why: EndReason }
  | { readonly kind: 'unknown' };

export class Vault {
  readonly quotas: Quotas;
  readonly #arena: KeyArena;
  readonly #cipher = new SessionCipher();
  readonly #randomId: () => Buffer;
  readonly #observeWipe: WipeObserver | undefined;
  /** Conversations by id, the least recently used first. */
  readonly #sessions = new Map<string, Session>();
  readonly #fingerprints = new FingerprintIndex<Session>();
  readonly #tombstones: Tombstones;
  readonly #space: VaultSpace;

  /** @param observeWipe - called with each piece of memory after it was overwritten and before it is freed */
  constructor(arena: KeyArena, quotas: Quotas, randomId: () => Buffer, observeWipe?: WipeObserver) {
    this.#arena = arena;
    this.quotas = quotas;
    this.#tombstones = new Tombstones(quotas.tombstones, quotas.tombstoneMs);
    this.#randomId = randomId;
    this.#observeWipe = observeWipe;
    this.#space = new VaultSpace(quotas, (session, now) => {
      this.wipe(session, 'pressure', now);
    });
  }

  /** Number of conversations. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Number of bytes that the sealed parts of all conversations take. */
  get sealedBytes(): number {
    return this.#space.sealedBytes;
  }

  /** Number of indexed fingerprints. */
  get fingerprints(): number {
    return this.#fingerprints.size;
  }

  /**
   * Begins a conversation with its first turn.
   * @throws `L5_SESSIONS_FULL` if its owner has too many conversations, `L5_SHARE_FULL` if they take too many bytes,
   * `L5_MEMORY_FULL` if nothing can be evicted
   */
  create(owner: TokenOwner, kind: SessionKind, now: number): Session {
    const own = this.#space.sessionsOf(owner, kind);
    if (kind === 'kept' && own >= this.quotas.sessionsPerToken)
      throw new KwyreError('L5_SESSIONS_FULL', `this token has ${own} conversations, its maximum`, 'delete one');
    if (kind === 'continued' && own >= this.quotas.continuedPerToken) this.#space.evictOldest(owner, kind, now);
    if (!this.#space.reserveOwnBytes(owner, wholePages(1), now))
      throw new KwyreError(
        'L5_SHARE_FULL',
        'the conversations of this token take all the memory that one token may use',
        'delete one, or wait until one ends',
      );
    const key = this.#takeKey(owner, now);
    if (key === undefined)
      throw new KwyreError(
        'L5_MEMORY_FULL',
        'there is no room for another conversation, and none can be evicted',
        'try again in a moment',
      );
    const session = beginSession({ idBytes: copyBytes(this.#randomId()), owner, kind, key, now });
    this.#sessions.set(session.id, session);
    this.#space.add(session);
    return session;
  }

  /** Looks up an id that a client sent. */
  find(id: string, principal: Buffer, now: number): Lookup {
    const session = this.#sessions.get(id);
    if (session?.kind === 'kept' && session.principal.equals(principal)) return { kind: 'found', session };
    const why = this.#tombstones.find(principal, id, now);
    return why === undefined ? { kind: 'unknown' } : { kind: 'gone', why };
  }

  /** Returns this owner's idle conversation for the first fingerprint that matches one. */
  findByFingerprint(fingerprints: readonly Fingerprint[], principal: Buffer): Session | undefined {
    for (const fingerprint of fingerprints) {
      const session = this.#fingerprints
        .find(fingerprint)
        .findLast((entry) => entry.state === 'idle' && entry.principal.equals(principal));
      if (session !== undefined) return session;
    }
    return undefined;
  }

  /** Begins a turn; returns `false` if another one is running, or if the conversation is gone. */
  begin(session: Session, now: number): boolean {
    if (session.state !== 'idle') return false;
    session.state = 'active';
    this.#touch(session, now);
    return true;
  }

  /** Ends the turn; the conversation is idle from now on. */
  end(session: Session, now: number): void {
    session.abort = undefined;
    if (session.state !== 'active') return;
    session.state = 'idle';
    this.#touch(session, now);
  }

  /** Replaces the fingerprints by which the conversation is found; they belong to the vault from now on. */
  setFingerprints(session: Session, fingerprints: readonly Fingerprint[]): void {
    this.#forgetFingerprints(session);
    if (session.state === 'gone') {
      for (const fingerprint of fingerprints) fingerprint.fill(0);
      return;
    }
    session.fingerprints = [...fingerprints];
    for (const fingerprint of fingerprints) this.#fingerprints.add(fingerprint, session);
  }

  /**
   * Encrypts a part and replaces the previous one of its kind; returns `false` if the conversation is gone or there is
   * no room.
   */
  put(session: Session, part: SessionPart, from: Address, bytes: number, now: number): boolean {
    if (session.state === 'gone') return false;
    const present = session.sealed.get(part);
    const others = sealedBytesOf(session) - (present?.capacity ?? 0);
    const wanted = wholePages(Math.max(1, bytes));
    const more = wanted - (present?.capacity ?? 0);
    if (others + wanted > this.quotas.bytesPerSession || !this.#space.reserveBytes(session, more, now)) return false;
    if (!this.#sessions.has(session.id)) return false; // this conversation was itself evicted
    this.#space.account(session, -(present?.capacity ?? 0));
    let sealed = present;
    try {
      sealed?.fit(bytes, this.#observeWipe);
      sealed ??= new SealedBuffer(bytes);
    } catch (error) {
      this.#space.account(session, present?.capacity ?? 0);
      if (!(error instanceof LinuxError)) throw error;
      return false;
    }
    session.seals += 1;
    this.#cipher.seal(this.#arena.at(session.key), session, part, session.seals, from, bytes, sealed);
    session.sealed.set(part, sealed);
    this.#space.account(session, sealed.capacity);
    return true;
  }

  /** Returns the length of a part in bytes, or 0 if there is none. */
  length(session: Session, part: SessionPart): number {
    return session.sealed.get(part)?.bytes ?? 0;
  }

  /**
   * Decrypts a part to an address with room for {@link length} bytes; returns `false` if there is no such part or it
   * was changed.
   */
  open(session: Session, part: SessionPart, to: Address): boolean {
    const sealed = session.sealed.get(part);
    if (session.state === 'gone' || sealed === undefined || sealed.bytes === 0) return false;
    return this.#cipher.open(this.#arena.at(session.key), session, part, sealed, to);
  }

  /** Overwrites a part and frees its memory. */
  drop(session: Session, part: SessionPart): void {
    const sealed = session.sealed.get(part);
    if (sealed === undefined) return;
    this.#space.account(session, -sealed.capacity);
    session.sealed.delete(part);
    sealed.wipe(this.#observeWipe);
  }

  /** Wipes a conversation; a second call does nothing. */
  wipe(session: Session, why: EndReason, now: number): void {
    if (session.state === 'gone') return;
    session.state = 'gone';
    this.#arena.destroy(session.key);
    for (const part of [...session.sealed.keys()]) this.drop(session, part);
    this.#forgetFingerprints(session);
    this.#sessions.delete(session.id);
    this.#space.remove(session);
    if (why !== 'ended' && session.kind === 'kept') this.#tombstones.add(session.principal, session.id, why, now);
    session.idBytes.fill(0);
    session.tokens = 0;
    const { abort } = session;
    session.abort = undefined;
    abort?.();
  }

  /** Wipes conversations that were idle for too long; returns their number. */
  reap(now: number): number {
    let count = 0;
    for (const session of [...this.#sessions.values()]) {
      if (session.state !== 'idle' || now - session.usedAt < this.#lifeOf(session)) continue;
      this.wipe(session, 'idle', now);
      count += 1;
    }
    this.#tombstones.reap(now);
    return count;
  }

  /**
   * Returns when the next conversation ends unless it is used, or `undefined` if there is none. An idle conversation
   * ends after its idle time, an active one after `turnMs`.
   */
  nextDue(turnMs: number): number | undefined {
    let due: number | undefined;
    for (const session of this.#sessions.values()) {
      const end = session.usedAt + (session.state === 'idle' ? this.#lifeOf(session) : turnMs);
      if (due === undefined || end < due) due = end;
    }
    return due;
  }

  /**
   * Wipes the conversations of one owner, or all; returns their number. Every key is destroyed before the first part is
   * overwritten.
   */
  wipeAll(now: number, principal?: Buffer): number {
    const all = [...this.#sessions.values()].filter(
      (session) => principal === undefined || session.principal.equals(principal),
    );
    for (const session of all) this.#arena.destroy(session.key);
    for (const session of all) this.wipe(session, 'ended', now);
    return all.length;
  }

  /** Returns facts about the conversations of one owner, or about all, the least recently used first. */
  list(now: number, principal?: Buffer): SessionFacts[] {
    return [...this.#sessions.values()]
      .filter((session) => principal === undefined || session.principal.equals(principal))
      .map((session) => this.factsOf(session, now));
  }

  factsOf(session: Session, now: number): SessionFacts {
    return factsOf(session, this.#lifeOf(session), now);
  }

  /** Returns the conversation with an id, regardless of its owner; for the operator. */
  peek(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  /** Returns the time without use after which a conversation is wiped, in milliseconds. */
  #lifeOf(session: Session): number {
    return session.kind === 'kept' ? this.quotas.idleMs : Math.min(this.quotas.idleMs, this.quotas.continueMs);
  }

  #touch(session: Session, now: number): void {
    session.usedAt = now;
    this.#sessions.delete(session.id);
    this.#sessions.set(session.id, session);
    this.#space.touch(session);
  }

  /** Takes a key for a new conversation; evicts others if necessary. */
  #takeKey(owner: TokenOwner, now: number): KeySlot | undefined {
    while (this.#sessions.size >= this.quotas.sessions) if (!this.#space.freePlace(owner, now)) return undefined;
    const slot = this.#arena.take();
    // The arena also holds keys for other purposes, and can be full before the quota is reached.
    if (slot !== undefined || !this.#space.freePlace(owner, now)) return slot;
    return this.#arena.take();
  }

  #forgetFingerprints(session: Session): void {
    for (const fingerprint of session.fingerprints) this.#fingerprints.remove(fingerprint, session);
    session.fingerprints = [];
  }
}
