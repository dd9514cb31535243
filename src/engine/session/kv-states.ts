/**
 * KV states of conversations between their turns: sealed in the vault, or parked in their slots.
 *
 * A sealed state consists of a u32 token count (little endian), the tokens, and the sequence's state as llama.cpp
 * serialises it.
 * Promise: an opened state is in the plaintext buffer only while it is copied, and is then overwritten. A state is used
 *          only up to the first token that differs from the prompt, so no other conversation affects a completion.
 * Limits:  with `keep`, states stay in the context in plaintext until another conversation needs the slot, and the
 *          status reports `degraded`.
 * Proof:   test/e2e/sessions.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import { plaintextMemory } from '../../base/bytes.ts';
import type { Session } from '../../layers/5-memory/session.ts';
import type { Vault } from '../../layers/5-memory/vault.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { viewMemory } from '../../linux/memory/mapped-memory.ts';
import type { KvPosture } from '../../wire/control-payloads.ts';
import type { ParkedState } from '../inference/generation.ts';
import type { Scheduler } from '../inference/scheduler.ts';
import type { LlamaModel } from '../llama/model.ts';
import type { PlaintextBuffer } from './plaintext-buffer.ts';

type KvStatesOptions = {
  readonly llama: LlamaModel;
  readonly scheduler: Scheduler;
  readonly vault: Vault;
  readonly buffer: PlaintextBuffer;
  readonly posture: KvPosture;
  /** Returns the monotonic time in milliseconds. */
  readonly now: () => number;
};

type Parked = { readonly slot: number; readonly tokens: Int32Array };

/** States with fewer tokens are not worth storing. */
const fewestTokens = 1;

/** Returns the length of the common prefix. */
function commonPrefix(a: Int32Array, b: Int32Array): number {
  const limit = Math.min(a.length, b.length);
  let count = 0;
  while (count < limit && a[count] === b[count]) count += 1;
  return count;
}

export class KvStates {
  readonly posture: KvPosture;
  readonly #llama: LlamaModel;
  readonly #scheduler: Scheduler;
  readonly #vault: Vault;
  readonly #buffer: PlaintextBuffer;
  readonly #now: () => number;
  readonly #parked = new Map<Session, Parked>();

  constructor({ llama, scheduler, vault, buffer, posture, now }: KvStatesOptions) {
    this.posture = posture;
    this.#llama = llama;
    this.#scheduler = scheduler;
    this.#vault = vault;
    this.#buffer = buffer;
    this.#now = now;
  }

  /** Returns the slot in which a conversation's state is parked. */
  residentSlot(session: Session): number | undefined {
    return this.#parked.get(session)?.slot;
  }

  /** Loads a conversation's state into a slot. @returns the number of prompt tokens that the slot then holds */
  attach(session: Session, slot: number, prompt: Int32Array): number {
    const parked = this.#parked.get(session);
    if (parked === undefined) return this.#restore(session, slot, prompt);
    this.#parked.delete(session);
    const shared = this.#truncate(slot, parked.tokens, prompt);
    parked.tokens.fill(0);
    return shared;
  }

  /** Stores the state of a slot. @returns the state if it stays in the slot, `undefined` if the slot can be cleared */
  detach(session: Session, slot: number, tokens: Int32Array): ParkedState | undefined {
    if (session.state === 'gone' || this.posture === 'drop' || tokens.length < fewestTokens) return undefined;
    session.tokens = tokens.length;
    if (this.posture !== 'keep') {
      this.#seal(session, slot, tokens);
      return undefined;
    }
    const copy = new Int32Array(plaintextMemory(4 * tokens.length));
    copy.set(tokens);
    this.#parked.set(session, { slot, tokens: copy });
    return {
      get idle() {
        return session.state === 'idle';
      },
      seal: () => {
        this.#sealParked(session);
      },
    };
  }

  /** Discards a conversation's state. The next turn recomputes it. */
  drop(session: Session): void {
    this.#vault.drop(session, 'state');
    this.release(session);
  }

  /** Frees the conversation's slot if its state is parked in one. */
  release(session: Session): void {
    const parked = this.#parked.get(session);
    if (parked === undefined) return;
    this.#parked.delete(session);
    parked.tokens.fill(0);
    this.#scheduler.release(parked.slot);
  }

  /** Overwrites the tokens of all parked states. It does not free their slots, because the process is about to exit. */
  wipe(): void {
    for (const { tokens } of this.#parked.values()) tokens.fill(0);
  }

  #sealParked(session: Session): void {
    const parked = this.#parked.get(session);
    if (parked === undefined) return;
    this.#parked.delete(session);
    if (session.state === 'idle') session.abort = undefined;
    this.#seal(session, parked.slot, parked.tokens);
    parked.tokens.fill(0);
  }

  #seal(session: Session, slot: number, tokens: Int32Array): void {
    const head = 4 + 4 * tokens.length;
    const room = this.#llama.stateBytes(slot);
    let used = 0;
    try {
      const address = this.#buffer.reserve(head + room);
      const view = viewMemory(address, head);
      view.writeUInt32LE(tokens.length, 0);
      view.set(new Uint8Array(tokens.buffer, tokens.byteOffset, 4 * tokens.length), 4);
      used = head + room;
      const written = this.#llama.readState(slot, address + BigInt(head), room);
      if (written === 0 || !this.#vault.put(session, 'state', address, head + written, this.#now()))
        this.#vault.drop(session, 'state');
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      this.#vault.drop(session, 'state'); // out of memory: the next turn recomputes the state
    } finally {
      this.#buffer.clear(used);
    }
  }

  #restore(session: Session, slot: number, prompt: Int32Array): number {
    const bytes = this.#vault.length(session, 'state');
    if (bytes === 0) return 0;
    try {
      const address = this.#buffer.reserve(bytes);
      if (!this.#vault.open(session, 'state', address)) {
        this.#vault.drop(session, 'state');
        return 0;
      }
      const view = viewMemory(address, bytes);
      const count = view.readUInt32LE(0);
      const head = 4 + 4 * count;
      const tokens = new Int32Array(view.buffer, view.byteOffset + 4, count);
      if (
        commonPrefix(tokens, prompt) < fewestTokens ||
        !this.#llama.writeState(slot, address + BigInt(head), bytes - head)
      ) {
        this.#llama.forget(slot);
        return 0;
      }
      return this.#truncate(slot, tokens, prompt);
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      return 0;
    } finally {
      this.#buffer.clear(bytes);
    }
  }

  /**
   * Truncates a slot to the prefix it shares with a prompt. The last token of a prompt is always decoded, because its
   * logits are needed.
   */
  #truncate(slot: number, tokens: Int32Array, prompt: Int32Array): number {
    const shared = Math.min(commonPrefix(tokens, prompt), prompt.length - 1);
    if (shared < tokens.length && (shared === 0 || !this.#llama.forgetFrom(slot, shared))) {
      this.#llama.forget(slot);
      return 0;
    }
    return shared;
  }
}
