/**
 * All conversations between their turns: sealed, counted, found only by their owner, and gone when they are wiped.
 *
 * Promise: an id is 128 random bits and bound to its owner; an id that is unknown and one that is another's are
 *          answered alike. A wipe destroys the key first, then overwrites what it sealed, then gives the memory back;
 *          what was wiped cannot be opened, sealed or found any more. An active turn is never idle.
 * Trust:   the time is an argument, from a clock that never goes back; nothing here waits or schedules.
 * Proof:   test/unit/layers/5-vault.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import { copyBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import { LinuxError } from '../../linux/ffi.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { wholePages } from '../../linux/memory/mapped-memory.ts';
import type { KeyArena } from './key-arena.ts';
import type { SessionPart } from './session-cipher.ts';
import { SessionCipher } from './session-cipher.ts';
import type { TokenOwner, Measure } from './per-token-usage.ts';
import { PerTokenUsage } from './per-token-usage.ts';
import type { Quotas } from './quota.ts';
import { tokenByteLimit } from './quota.ts';
import type { WipeObserver } from './sealed-buffer.ts';
import { SealedBuffer } from './sealed-buffer.ts';
import type { Session, SessionFacts, SessionKind, EndReason } from './session.ts';
import { sealedBytesOf } from './session.ts';
import { Tombstones } from './tombstones.ts';
import type { Fingerprint } from './history-hash.ts';
import { FingerprintIndex } from './history-hash.ts';

/** What a look for an id finds. `gone`: it was let go, and its owner may know. */
export type Lookup =
  | { readonly kind: 'found'; readonly session: Session }
  | { readonly kind: 'gone'; readonly why: EndReason }
  | { readonly kind: 'unknown' };

export class Vault {
  readonly quotas: Quotas;
  readonly #arena: KeyArena;
  readonly #cipher = new SessionCipher();
  readonly #randomId: () => Buffer;
  readonly #look: WipeObserver | undefined;
  /** In the order of their last use, the oldest first. */
  readonly #sessions = new Map<string, Session>();
  readonly #fingerprints = new FingerprintIndex<Session>();
  readonly #tombstones: Tombstones;
  readonly #holders = new PerTokenUsage();
  #sealedBytes = 0;

  /** @param look - shown each piece of memory between overwriting and giving back. */
  constructor(arena: KeyArena, quotas: Quotas, randomId: () => Buffer, look?: WipeObserver) {
    this.#arena = arena;
    this.quotas = quotas;
    this.#tombstones = new Tombstones(quotas.tombstones, quotas.tombstoneMs);
    this.#randomId = randomId;
    this.#look = look;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get sealedBytes(): number {
    return this.#sealedBytes;
  }

  /** Fingerprints under which something can be found. */
  get fingerprints(): number {
    return this.#fingerprints.size;
  }

  /**
   * Begins a conversation, active at once.
   * @throws `L5_SESSIONS_FULL` when its owner has too many, `L5_SHARE_FULL` when they are too large, `L5_MEMORY_FULL`
   * when nothing can be let go
   */
  create(holder: TokenOwner, kind: SessionKind, now: number): Session {
    const { principal, operator } = holder;
    const own = this.#holders.sessionsOf(holder, kind);
    if (kind === 'kept' && own >= this.quotas.sessionsPerToken)
      throw new KwyreError(
        'L5_SESSIONS_FULL',
        `this token holds ${own} conversations, which is all it may`,
        'delete one',
      );
    if (kind === 'continued' && own >= this.quotas.continuedPerToken)
      this.#letGo(this.#holders.oldestIdle(holder, kind), now);
    if (!this.#pressOwn(holder, wholePages(1), now))
      throw new KwyreError(
        'L5_SHARE_FULL',
        'the conversations of this token take all the memory that one token may take',
        'delete one, or wait until one is over',
      );
    while (this.#sessions.size >= this.quotas.sessions && this.#makeRoom(holder, 'sessions', 1, now));
    let key = this.#sessions.size < this.quotas.sessions ? this.#arena.take() : undefined;
    if (key === undefined && this.#sessions.size < this.quotas.sessions && this.#makeRoom(holder, 'sessions', 1, now))
      key = this.#arena.take();
    if (key === undefined)
      throw new KwyreError(
        'L5_MEMORY_FULL',
        'there is no room for another conversation, and none may be let go for it',
        'try again in a moment',
      );
    const idBytes = copyBytes(this.#randomId());
    const id = idBytes.toString('hex');
    const session: Session = {
      id,
      idBytes,
      principal: copyBytes(principal),
      operator,
      kind,
      createdAt: now,
      key,
      sealed: new Map(),
      fingerprints: [],
      state: 'active',
      usedAt: now,
      seals: 0,
      turns: 0,
      tokens: 0,
      abort: undefined,
    };
    this.#sessions.set(id, session);
    this.#holders.add(session);
    return session;
  }

  /** Looks for an id that somebody sent. */
  find(id: string, principal: Buffer, now: number): Lookup {
    const session = this.#sessions.get(id);
    if (session?.kind === 'kept' && session.principal.equals(principal)) return { kind: 'found', session };
    const why = this.#tombstones.find(principal, id, now);
    return why === undefined ? { kind: 'unknown' } : { kind: 'gone', why };
  }

  /** Looks for an idle conversation of this owner under the fingerprints, the first that fits. */
  findByFingerprint(fingerprints: readonly Fingerprint[], principal: Buffer): Session | undefined {
    for (const fingerprint of fingerprints) {
      const session = this.#fingerprints
        .find(fingerprint)
        .findLast((entry) => entry.state === 'idle' && entry.principal.equals(principal));
      if (session !== undefined) return session;
    }
    return undefined;
  }

  /** Begins a turn; `false` while another one is under way or when it is gone. */
  begin(session: Session, now: number): boolean {
    if (session.state !== 'idle') return false;
    session.state = 'active';
    this.#touch(session, now);
    return true;
  }

  /** Ends the turn: it is idle from now on. */
  end(session: Session, now: number): void {
    session.abort = undefined;
    if (session.state !== 'active') return;
    session.state = 'idle';
    this.#touch(session, now);
  }

  /** Leaves it findable under these fingerprints only, which are taken over. */
  setFingerprints(session: Session, fingerprints: readonly Fingerprint[]): void {
    this.#forgetFingerprints(session);
    if (session.state === 'gone') {
      for (const fingerprint of fingerprints) fingerprint.fill(0);
      return;
    }
    session.fingerprints = [...fingerprints];
    for (const fingerprint of fingerprints) this.#fingerprints.add(fingerprint, session);
  }

  /** Seals a part, the former one of its kind included; `false` when it is gone or there is no room. */
  put(session: Session, part: SessionPart, from: Address, bytes: number, now: number): boolean {
    if (session.state === 'gone') return false;
    const present = session.sealed.get(part);
    const others = sealedBytesOf(session) - (present?.capacity ?? 0);
    const wanted = wholePages(Math.max(1, bytes));
    const more = wanted - (present?.capacity ?? 0);
    if (
      others + wanted > this.quotas.bytesPerSession ||
      !this.#pressOwn(session, more, now) ||
      !this.#press(session, more, now)
    )
      return false;
    if (!this.#sessions.has(session.id)) return false; // it was the oldest idle one itself
    this.#account(session, -(present?.capacity ?? 0));
    let sealed = present;
    try {
      sealed?.fit(bytes, this.#look);
      sealed ??= new SealedBuffer(bytes);
    } catch (error) {
      this.#account(session, present?.capacity ?? 0);
      if (!(error instanceof LinuxError)) throw error;
      return false;
    }
    session.seals += 1;
    this.#cipher.seal(this.#arena.at(session.key), session, part, session.seals, from, bytes, sealed);
    session.sealed.set(part, sealed);
    this.#account(session, sealed.capacity);
    return true;
  }

  /** The length of a sealed part, 0 when there is none. */
  length(session: Session, part: SessionPart): number {
    return session.sealed.get(part)?.bytes ?? 0;
  }

  /**
   * Opens a part to an address with room for {@link length} bytes; `false` when there is none or it was tampered with.
   */
  open(session: Session, part: SessionPart, to: Address): boolean {
    const sealed = session.sealed.get(part);
    if (session.state === 'gone' || sealed === undefined || sealed.bytes === 0) return false;
    return this.#cipher.open(this.#arena.at(session.key), session, part, sealed, to);
  }

  /** Overwrites a part and gives its memory back. */
  drop(session: Session, part: SessionPart): void {
    const sealed = session.sealed.get(part);
    if (sealed === undefined) return;
    this.#account(session, -sealed.capacity);
    session.sealed.delete(part);
    sealed.wipe(this.#look);
  }

  /** Makes an end of a conversation; safe to call twice. */
  wipe(session: Session, why: EndReason, now: number): void {
    if (session.state === 'gone') return;
    session.state = 'gone';
    this.#arena.destroy(session.key);
    for (const part of [...session.sealed.keys()]) this.drop(session, part);
    this.#forgetFingerprints(session);
    this.#sessions.delete(session.id);
    this.#holders.remove(session);
    if (why !== 'ended' && session.kind === 'kept') this.#tombstones.add(session.principal, session.id, why, now);
    session.idBytes.fill(0);
    session.tokens = 0;
    const { abort } = session;
    session.abort = undefined;
    abort?.();
  }

  /** Wipes what was idle for too long; gives how many. */
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
   * When the next conversation is due: an idle one by its life, an active one by the time of a turn; `undefined` for
   * none.
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
   * Wipes those of one owner, or all; every key is destroyed before the first content is overwritten. Gives how many.
   */
  wipeAll(now: number, principal?: Buffer): number {
    const all = [...this.#sessions.values()].filter(
      (session) => principal === undefined || session.principal.equals(principal),
    );
    for (const session of all) this.#arena.destroy(session.key);
    for (const session of all) this.wipe(session, 'ended', now);
    return all.length;
  }

  /** Facts about those of one owner, or of all, the oldest use first. */
  list(now: number, principal?: Buffer): SessionFacts[] {
    return [...this.#sessions.values()]
      .filter((session) => principal === undefined || session.principal.equals(principal))
      .map((session) => this.factsOf(session, now));
  }

  factsOf(session: Session, now: number): SessionFacts {
    const active = session.state === 'active';
    const idleMs = active ? 0 : now - session.usedAt;
    return {
      id: session.id,
      kind: session.kind,
      state: active ? 'active' : 'idle',
      ageMs: now - session.createdAt,
      idleMs,
      leftMs: Math.max(0, this.#lifeOf(session) - idleMs),
      bytes: sealedBytesOf(session),
      tokens: session.tokens,
      turns: session.turns,
    };
  }

  /** The session of an id, whoever owns it: for the operator. */
  peek(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  #lifeOf(session: Session): number {
    return session.kind === 'kept' ? this.quotas.idleMs : Math.min(this.quotas.idleMs, this.quotas.continueMs);
  }

  #touch(session: Session, now: number): void {
    session.usedAt = now;
    this.#sessions.delete(session.id);
    this.#sessions.set(session.id, session);
    this.#holders.touch(session);
  }

  /** Makes room for more sealed bytes of a token; `false` when nothing may be let go for them. */
  #press(holder: TokenOwner, bytes: number, now: number): boolean {
    if (bytes > this.quotas.sealedBytes) return false;
    while (this.#sealedBytes + bytes > this.quotas.sealedBytes)
      if (!this.#makeRoom(holder, 'bytes', bytes, now)) return false;
    return true;
  }

  /** As {@link #press}, within what one token may take, and of its conversations only. */
  #pressOwn(holder: TokenOwner, bytes: number, now: number): boolean {
    const limit = tokenByteLimit(this.quotas.sealedBytes, holder.operator ? 1 : this.#holders.ownersWith(holder));
    if (limit === this.quotas.sealedBytes || bytes <= 0) return true;
    if (bytes > limit) return false;
    while (this.#holders.bytesOf(holder) + bytes > limit)
      if (!this.#letGo(this.#holders.oldestIdle(holder), now)) return false;
    return true;
  }

  #makeRoom(holder: TokenOwner, measure: Measure, more: number, now: number): boolean {
    return this.#letGo(
      this.#holders.evictionCandidate(
        holder,
        measure,
        measure === 'bytes' ? this.quotas.sealedBytes : this.quotas.sessions,
        more,
      ),
      now,
    );
  }

  #letGo(session: Session | undefined, now: number): boolean {
    if (session !== undefined) this.wipe(session, 'pressure', now);
    return session !== undefined;
  }

  #account(session: Session, bytes: number): void {
    this.#sealedBytes += bytes;
    this.#holders.addBytes(session, bytes);
  }

  #forgetFingerprints(session: Session): void {
    for (const fingerprint of session.fingerprints) this.#fingerprints.remove(fingerprint, session);
    session.fingerprints = [];
  }
}
