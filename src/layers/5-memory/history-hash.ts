/**
 * Fingerprints of conversations: keyed hashes of the messages, used to find the conversation of a client that resends
 * its whole history.
 *
 * Promise: the key is generated at the start and kept in the key arena; without it a fingerprint reveals nothing about
 *          the text. The token is part of the hash, so the same text under two tokens has different fingerprints. The
 *          fingerprints of a conversation are overwritten when it ends.
 * Proof:   test/unit/layers/5-vault.test.ts
 * @module
 */
import { unpooledBytes } from '../../base/bytes.ts';
import { bug } from '../../base/errors.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { addressOf } from '../../linux/syscalls.ts';
import { authenticateMemory, macBytes } from '../../linux/memory/openssl.ts';
import type { KeyArena } from './key-arena.ts';

/** 32 bytes in unpooled memory, which their owner must overwrite. */
export type Fingerprint = Buffer;

/** Computes fingerprints with its own key. */
export class Fingerprinter {
  readonly #arena: KeyArena;
  readonly #place: number;
  readonly #frame = unpooledBytes(16);

  constructor(arena: KeyArena) {
    this.#arena = arena;
    this.#place = arena.take() ?? bug('no slot for the first key');
  }

  get #key(): Address {
    return this.#arena.at(this.#place);
  }

  /** Returns the fingerprint of a conversation without messages. */
  begin(principal: Buffer): Fingerprint {
    const fingerprint = unpooledBytes(macBytes);
    const holder = unpooledBytes(16);
    holder.set(principal.subarray(0, 16));
    authenticateMemory(this.#key, [{ address: addressOf(holder), bytes: 16 }], addressOf(fingerprint));
    return fingerprint;
  }

  /** Returns the fingerprint after one more message. @param role - a number for the message's role */
  next(before: Fingerprint, role: number, pieces: readonly Uint8Array[]): Fingerprint {
    const fingerprint = unpooledBytes(macBytes);
    this.#frame.fill(0);
    this.#frame[0] = role;
    this.#frame.writeBigUInt64LE(BigInt(pieces.reduce((sum, piece) => sum + piece.length, 0)), 8);
    authenticateMemory(
      this.#key,
      [
        { address: addressOf(before), bytes: macBytes },
        { address: addressOf(this.#frame), bytes: 16 },
        ...pieces
          .filter((piece) => piece.length > 0)
          .map((piece) => ({ address: addressOf(piece), bytes: piece.length })),
      ],
      addressOf(fingerprint),
    );
    return fingerprint;
  }
}

const slotOf = (fingerprint: Fingerprint): number => fingerprint.readUInt32LE(0);

/** Finds values by fingerprint. */
export class FingerprintIndex<T> {
  readonly #slots = new Map<number, { readonly fingerprint: Fingerprint; readonly value: T }[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds a value; the fingerprint belongs to the index from now on. */
  add(fingerprint: Fingerprint, value: T): void {
    const list = this.#slots.get(slotOf(fingerprint));
    if (list === undefined) this.#slots.set(slotOf(fingerprint), [{ fingerprint, value }]);
    else list.push({ fingerprint, value });
    this.#size += 1;
  }

  /** Returns the values stored under a fingerprint, the most recently added last. */
  find(fingerprint: Fingerprint): T[] {
    return (this.#slots.get(slotOf(fingerprint)) ?? [])
      .filter((entry) => entry.fingerprint.equals(fingerprint))
      .map((entry) => entry.value);
  }

  /** Removes a value and overwrites its fingerprint. */
  remove(fingerprint: Fingerprint, value: T): void {
    const slot = slotOf(fingerprint);
    const list = this.#slots.get(slot);
    const at = list?.findIndex((entry) => entry.fingerprint === fingerprint && entry.value === value) ?? -1;
    if (list !== undefined && at >= 0) {
      list.splice(at, 1);
      this.#size -= 1;
      if (list.length === 0) this.#slots.delete(slot);
    }
    fingerprint.fill(0);
  }
}
