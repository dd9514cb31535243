/**
 * Stores conversations for the API: finds them for their owner, opens them for a turn and seals them again afterwards.
 *
 * Promise: opened text stays in the plaintext buffer only until it is parsed, and is then overwritten. However the
 *          engine exits, it overwrites every key first, then every sealed part.
 * Proof:   test/e2e/sessions.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import { wipeBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import type { Fingerprinter } from '../../layers/5-memory/history-hash.ts';
import type { KeyArena } from '../../layers/5-memory/key-arena.ts';
import type { TokenOwner } from '../../layers/5-memory/per-token-usage.ts';
import type { Session, SessionKind, EndReason } from '../../layers/5-memory/session.ts';
import type { Vault } from '../../layers/5-memory/vault.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { viewMemory } from '../../linux/memory/mapped-memory.ts';
import { addressOf } from '../../linux/syscalls.ts';
import { RequestError } from '../types.ts';
import type { KvStates } from './kv-states.ts';
import type { PlaintextBuffer } from './plaintext-buffer.ts';
import { sessionBusy, sessionGone, sessionMemory, unknownSession } from './session-errors.ts';
import { Transcript } from './transcript.ts';

type SessionStoreOptions = {
  readonly arena: KeyArena;
  readonly vault: Vault;
  readonly fingerprinter: Fingerprinter;
  readonly buffer: PlaintextBuffer;
  readonly states: KvStates;
  /** Returns the monotonic time in milliseconds. */
  readonly now: () => number;
  readonly unixSeconds: () => number;
  /** Returns `count` random hexadecimal digits. */
  readonly randomHex: (count: number) => string;
};

export class SessionStore {
  readonly vault: Vault;
  readonly fingerprinter: Fingerprinter;
  readonly states: KvStates;
  readonly unixSeconds: () => number;
  readonly #arena: KeyArena;
  readonly #buffer: PlaintextBuffer;
  readonly #now: () => number;
  readonly #randomHex: (count: number) => string;

  constructor({ arena, vault, fingerprinter, buffer, states, now, unixSeconds, randomHex }: SessionStoreOptions) {
    this.vault = vault;
    this.fingerprinter = fingerprinter;
    this.states = states;
    this.unixSeconds = unixSeconds;
    this.#arena = arena;
    this.#buffer = buffer;
    this.#now = now;
    this.#randomHex = randomHex;
  }

  /** The monotonic time in milliseconds. */
  get now(): number {
    return this.#now();
  }

  /** Returns the time until the next conversation expires (negative if overdue); `undefined` if there are none. */
  dueInMs(turnMs: number): number | undefined {
    const due = this.vault.nextDue(turnMs);
    return due === undefined ? undefined : due - this.now;
  }

  /** Whether conversations of clients that resend their whole history are recognised. */
  get recognisesHistory(): boolean {
    return this.vault.quotas.continueMs > 0 && this.states.posture !== 'drop';
  }

  /** Finds a conversation that belongs to a token. @throws RequestError `SESSION_NOT_FOUND`, `SESSION_GONE` */
  find(id: string, principal: Buffer): Session {
    const found = this.vault.find(id, principal, this.now);
    if (found.kind === 'unknown') throw unknownSession();
    if (found.kind === 'gone') throw sessionGone(found.why);
    return found.session;
  }

  /** Begins a turn. @throws RequestError `SESSION_BUSY` */
  begin(session: Session): void {
    if (!this.vault.begin(session, this.now)) throw sessionBusy();
  }

  /** Creates a conversation and begins its first turn. @throws RequestError `SESSION_QUOTA`, `SESSION_MEMORY` */
  create(holder: TokenOwner, kind: SessionKind): Session {
    try {
      return this.vault.create(holder, kind, this.now);
    } catch (error) {
      if (!(error instanceof KwyreError)) throw error;
      throw error.code === 'L5_SESSIONS_FULL' || error.code === 'L5_SHARE_FULL'
        ? new RequestError('SESSION_QUOTA', error.message, null, 429)
        : new RequestError('SESSION_MEMORY', error.message, null, 507);
    }
  }

  /** Ends a turn. */
  end(session: Session): void {
    this.vault.end(session, this.now);
    if (this.states.residentSlot(session) === undefined) return;
    const release = () => {
      this.states.release(session);
    };
    if (session.state === 'gone') release();
    else session.abort = release;
  }

  /** Runs `act` as a separate turn. @throws RequestError `SESSION_BUSY` */
  during<T>(session: Session, act: () => T): T {
    this.begin(session);
    try {
      return act();
    } finally {
      this.end(session);
    }
  }

  wipe(session: Session, why: EndReason = 'ended'): void {
    this.vault.wipe(session, why, this.now);
    this.states.release(session);
  }

  /** Opens a conversation's items; the caller disposes them. @throws RequestError `SESSION_GONE`, `SESSION_MEMORY` */
  openTranscript(session: Session): Transcript {
    const transcript = new Transcript(this.#randomHex);
    const bytes = this.vault.length(session, 'history');
    if (bytes === 0) return transcript;
    try {
      const address = this.#buffer.reserve(bytes);
      if (!this.vault.open(session, 'history', address)) {
        // The ciphertext was tampered with, so none of it is used.
        this.wipe(session);
        throw sessionGone('ended');
      }
      transcript.read(viewMemory(address, bytes));
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      throw sessionMemory();
    } finally {
      this.#buffer.clear(bytes);
    }
    return transcript;
  }

  /** Seals a conversation's items. @returns `false` if there is no room for them */
  sealTranscript(session: Session, transcript: Transcript): boolean {
    const bytes = transcript.write();
    try {
      return this.vault.put(session, 'history', addressOf(bytes), bytes.length, this.now);
    } finally {
      wipeBytes(bytes);
    }
  }

  /** Wipes conversations that have been idle for too long. */
  reap(): void {
    this.vault.reap(this.now);
  }

  /** Overwrites everything, keys first. */
  close(): void {
    this.#arena.destroyAll();
    this.vault.wipeAll(this.now);
    this.#buffer.clear(this.#buffer.bytes);
    this.states.wipe();
  }
}
