/**
 * The fingerprint of a conversation: a keyed hash over its messages, by which a client that sends the whole history again is
 * found to go on with it.
 *
 * Promise: the key is made at the start and lies among the conversations' keys; without it a fingerprint says nothing about
 *          any text. The token's holder is part of it: equal words of two holders have different fingerprints. An ended
 *          conversation's fingerprints are overwritten.
 * Proof:   test/unit/layers/5-vault.test.ts
 * @module
 */
import { unpooledBytes } from '../../base/bytes.ts';
import { bug } from '../../base/errors.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { addressOf } from '../../linux/syscalls.ts';
import { authenticateMemory, macBytes } from '../../linux/memory/openssl.ts';
import type { KeyArena } from './key-arena.ts';

/** 32 bytes in memory of their own; whoever holds one overwrites it. */
export type Fingerprint = Buffer;

/** Makes fingerprints. */
export class Fingerprinter {
  readonly #arena: KeyArena;
  readonly #place: number;
  readonly #frame = unpooledBytes(16);

  constructor(arena: KeyArena) {
    this.#arena = arena;
    this.#place = arena.take() ?? bug('no place for the first key');
  }

  get #key(): Address {
    return this.#arena.at(this.#place);
  }

  /** The fingerprint of a conversation in which nothing was said yet. */
  begin(principal: Buffer): Fingerprint {
    const fingerprint = unpooledBytes(macBytes);
    const holder = unpooledBytes(16);
    holder.set(principal.subarray(0, 16));
    authenticateMemory(this.#key, [{ address: addressOf(holder), bytes: 16 }], addressOf(fingerprint));
    return fingerprint;
  }

  /** The fingerprint after one more message. */
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

/** Finds what was left under a fingerprint. */
export class FingerprintIndex<T> {
  readonly #slots = new Map<number, { readonly fingerprint: Fingerprint; readonly value: T }[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Keeps a value under a fingerprint, which is taken over. */
  add(fingerprint: Fingerprint, value: T): void {
    const list = this.#slots.get(slotOf(fingerprint));
    if (list === undefined) this.#slots.set(slotOf(fingerprint), [{ fingerprint, value }]);
    else list.push({ fingerprint, value });
    this.#size += 1;
  }

  /** The values under a fingerprint, the latest last. */
  find(fingerprint: Fingerprint): T[] {
    return (this.#slots.get(slotOf(fingerprint)) ?? [])
      .filter((entry) => entry.fingerprint.equals(fingerprint))
      .map((entry) => entry.value);
  }

  /** Lets go of a fingerprint and overwrites it. */
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
