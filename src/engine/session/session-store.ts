/**
 * Between the vault and the context: takes a conversation's words and state out of their seal for a turn, and puts them
 * back afterwards.
 *
 * Promise: what is opened stands in the work memory for one step and is overwritten; a state is used only as far as its
 *          tokens are those of the prompt, so nothing of another conversation can get into an answer. When the engine
 *          ends,
 *          whatever ends it, every key is overwritten first, then every content.
 * Limits:  `keep` leaves states in the context, in plain, until somebody else needs the place: the status says
 *          degraded.
 * Proof:   test/e2e/sessions.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import { wipeBytes, plaintextMemory } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import type { KeyArena } from '../../layers/5-memory/key-arena.ts';
import type { TokenOwner } from '../../layers/5-memory/per-token-usage.ts';
import type { Session, SessionKind, EndReason } from '../../layers/5-memory/session.ts';
import type { Fingerprinter } from '../../layers/5-memory/history-hash.ts';
import type { Vault } from '../../layers/5-memory/vault.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { viewMemory } from '../../linux/memory/mapped-memory.ts';
import { addressOf } from '../../linux/syscalls.ts';
import type { KvPosture } from '../../wire/control-payloads.ts';
import type { LlamaModel } from '../llama/model.ts';
import { RequestError } from '../types.ts';
import type { Scheduler } from '../inference/scheduler.ts';
import { Transcript } from './transcript.ts';
import type { PlaintextBuffer } from './plaintext-buffer.ts';

/** What the keeper works with. */
export type SessionStoreOptions = {
  readonly llama: LlamaModel;
  readonly scheduler: Scheduler;
  readonly arena: KeyArena;
  readonly vault: Vault;
  readonly fingerprinter: Fingerprinter;
  readonly work: PlaintextBuffer;
  readonly kv: KvPosture;
  /** Milliseconds, never backwards. */
  readonly now: () => number;
  readonly unixSeconds: () => number;
  readonly randomHex: (count: number) => string;
};

/** A state that stays in the context between turns. */
type Held = { readonly sequence: number; readonly tokens: Int32Array };

/** Below this a state is not worth its place. */
const fewestTokens = 1;

const gone: Readonly<Record<EndReason, string>> = {
  ended: 'this conversation was wiped',
  idle: 'nobody used this conversation for so long that it was wiped',
  pressure:
    'this conversation was wiped to make room for others, as the one of its token that nobody had used for the longest time',
};

/** The answer for a conversation that is not there any more. */
export const goneError = (why: EndReason): RequestError => new RequestError('SESSION_GONE', gone[why], null, 410);
export const unknownSession = (): RequestError =>
  new RequestError('SESSION_NOT_FOUND', 'there is no such conversation', null, 404);
const busySession = (): RequestError =>
  new RequestError('SESSION_BUSY', 'another turn of this conversation is under way', null, 409);
export const sessionTooLarge = (): RequestError =>
  new RequestError('SESSION_TOO_LARGE', 'this conversation would take more memory than one may', null, 507);

/** How many tokens two runs have in common from the first on. */
function common(a: Int32Array, b: Int32Array): number {
  const limit = Math.min(a.length, b.length);
  let count = 0;
  while (count < limit && a[count] === b[count]) count += 1;
  return count;
}

export class SessionStore {
  readonly vault: Vault;
  readonly fingerprinter: Fingerprinter;
  readonly kv: KvPosture;
  readonly #powers: SessionStoreOptions;
  readonly #held = new Map<Session, Held>();

  constructor(powers: SessionStoreOptions) {
    this.#powers = powers;
    this.vault = powers.vault;
    this.fingerprinter = powers.fingerprinter;
    this.kv = powers.kv;
    powers.scheduler.onNeed = () => this.#evict();
  }

  get now(): number {
    return this.#powers.now();
  }

  /** Milliseconds until the next conversation is due, negative when it is late; `undefined` for none. */
  dueInMs(turnMs: number): number | undefined {
    const due = this.vault.nextDue(turnMs);
    return due === undefined ? undefined : due - this.now;
  }

  /** Whether clients that send their history again are recognised. */
  get continues(): boolean {
    return this.vault.quotas.continueMs > 0 && this.kv !== 'drop';
  }

  /** The conversation of an id. @throws RequestError `SESSION_NOT_FOUND`, `SESSION_GONE` */
  find(id: string, principal: Buffer): Session {
    const found = this.vault.find(id, principal, this.now);
    if (found.kind === 'unknown') throw unknownSession();
    if (found.kind === 'gone') throw goneError(found.why);
    return found.session;
  }

  /** Begins a turn. @throws RequestError `SESSION_BUSY` */
  begin(session: Session): void {
    if (!this.vault.begin(session, this.now)) throw busySession();
  }

  /** Begins a conversation. @throws RequestError `SESSION_QUOTA`, `SESSION_MEMORY` */
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
    if (this.#held.has(session))
      session.abort = () => {
        this.#release(session);
      };
  }

  wipe(session: Session, why: EndReason = 'ended'): void {
    this.vault.wipe(session, why, this.now);
    this.#release(session);
  }

  /** The words of a conversation; the caller disposes them. @throws RequestError `SESSION_GONE`, `SESSION_MEMORY` */
  history(session: Session): Transcript {
    const { work, randomHex } = this.#powers;
    const transcript = new Transcript(randomHex);
    const bytes = this.vault.length(session, 'history');
    if (bytes === 0) return transcript;
    try {
      const address = work.reserve(bytes);
      if (!this.vault.open(session, 'history', address)) {
        // Somebody changed what was sealed: nothing of it is used.
        this.wipe(session);
        throw goneError('ended');
      }
      transcript.read(viewMemory(address, bytes));
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      throw new RequestError('SESSION_MEMORY', 'there is no memory to open this conversation', null, 507);
    } finally {
      work.clear(bytes);
    }
    return transcript;
  }

  /** Seals the words of a conversation; `false` when there is no room for them. */
  saveHistory(session: Session, transcript: Transcript): boolean {
    const bytes = transcript.write();
    try {
      return this.vault.put(session, 'history', addressOf(bytes), bytes.length, this.now);
    } finally {
      wipeBytes(bytes);
    }
  }

  /** Overwrites what the model remembers of a conversation; the next turn computes it again. */
  dropState(session: Session): void {
    this.vault.drop(session, 'state');
    this.#release(session);
  }

  seatOf(session: Session): number | undefined {
    return this.#held.get(session)?.sequence;
  }

  /** Gives a sequence the conversation's state back; gives how many tokens of the prompt it holds then. */
  enter(session: Session, sequence: number, prompt: Int32Array): number {
    const held = this.#held.get(session);
    if (held === undefined) return this.#restore(session, sequence, prompt);
    this.#held.delete(session);
    const shared = this.#cut(sequence, held.tokens, prompt);
    held.tokens.fill(0);
    return shared;
  }

  /** Takes the state of a sequence into the vault; gives whether the sequence is to be kept instead. */
  leave(session: Session, sequence: number, tokens: Int32Array): boolean {
    if (session.state === 'gone' || this.kv === 'drop' || tokens.length < fewestTokens) return false;
    session.tokens = tokens.length;
    if (this.kv === 'keep') {
      const held = new Int32Array(plaintextMemory(4 * tokens.length));
      held.set(tokens);
      this.#held.set(session, { sequence, tokens: held });
      return true;
    }
    this.#seal(session, sequence, tokens);
    return false;
  }

  /** Now and then: what was idle for too long. */
  tick(): void {
    this.vault.reap(this.now);
  }

  /** The end of the engine: keys first, then contents. */
  close(): void {
    this.#powers.arena.destroyAll();
    this.vault.wipeAll(this.now);
    this.#powers.work.clear(this.#powers.work.bytes);
    for (const held of this.#held.values()) held.tokens.fill(0);
  }

  #seal(session: Session, sequence: number, tokens: Int32Array): void {
    const { llama, work } = this.#powers;
    const head = 4 + 4 * tokens.length;
    const room = llama.stateBytes(sequence);
    let total = 0;
    try {
      const address = work.reserve(head + room);
      const view = viewMemory(address, head);
      view.writeUInt32LE(tokens.length, 0);
      view.set(new Uint8Array(tokens.buffer, tokens.byteOffset, 4 * tokens.length), 4);
      total = head + room;
      const got = llama.readState(sequence, address + BigInt(head), room);
      if (got === 0 || !this.vault.put(session, 'state', address, head + got, this.now))
        this.vault.drop(session, 'state');
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      this.vault.drop(session, 'state'); // no memory: the next turn computes it again
    } finally {
      work.clear(total);
    }
  }

  #restore(session: Session, sequence: number, prompt: Int32Array): number {
    const { llama, work } = this.#powers;
    const bytes = this.vault.length(session, 'state');
    if (bytes === 0) return 0;
    try {
      const address = work.reserve(bytes);
      if (!this.vault.open(session, 'state', address)) {
        this.vault.drop(session, 'state');
        return 0;
      }
      const view = viewMemory(address, bytes);
      const count = view.readUInt32LE(0);
      const head = 4 + 4 * count;
      const tokens = new Int32Array(view.buffer, view.byteOffset + 4, count);
      if (common(tokens, prompt) < fewestTokens || !llama.writeState(sequence, address + BigInt(head), bytes - head)) {
        llama.forget(sequence);
        return 0;
      }
      return this.#cut(sequence, tokens, prompt);
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      return 0;
    } finally {
      work.clear(bytes);
    }
  }

  /**
   * Leaves in a sequence what it shares with a prompt, whose last token is always computed: the answer begins there.
   */
  #cut(sequence: number, tokens: Int32Array, prompt: Int32Array): number {
    const { llama } = this.#powers;
    const shared = Math.min(common(tokens, prompt), prompt.length - 1);
    if (shared < tokens.length && (shared === 0 || !llama.forgetFrom(sequence, shared))) {
      llama.forget(sequence);
      return 0;
    }
    return shared;
  }

  /** Frees a sequence that is held, an idle conversation's first. */
  #evict(): number | undefined {
    let chosen: Session | undefined;
    for (const session of this.#held.keys())
      if (chosen === undefined || (chosen.state !== 'idle' && session.state === 'idle')) chosen = session;
    const held = chosen === undefined ? undefined : this.#held.get(chosen);
    if (chosen === undefined || held === undefined) return undefined;
    this.#held.delete(chosen);
    if (chosen.state === 'idle') chosen.abort = undefined;
    this.#seal(chosen, held.sequence, held.tokens);
    held.tokens.fill(0);
    return held.sequence;
  }

  #release(session: Session): void {
    const held = this.#held.get(session);
    if (held === undefined) return;
    this.#held.delete(session);
    held.tokens.fill(0);
    this.#powers.scheduler.giveBack(held.sequence);
  }
}
