/**
 * The trace of a conversation: a keyed hash over its messages, by which a client that sends the whole history again is
 * found to go on with it.
 *
 * Promise: the key is made at the start and lies among the conversations' keys; without it a trace says nothing about
 *          any text. The token's holder is part of it: equal words of two holders have different traces. An ended
 *          conversation's traces are overwritten.
 * Proof:   test/unit/layers/5-vault.test.ts
 * @module
 */
import { ownBytes } from '../../base/bytes.ts';
import { bug } from '../../base/errors.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { addressOf } from '../../linux/process.ts';
import { authenticateMemory, macBytes } from '../../linux/memory/openssl.ts';
import type { Arena } from './key-arena.ts';

/** 32 bytes in memory of their own; whoever holds one overwrites it. */
export type Trace = Buffer;

/** Makes traces. */
export class Tracer {
  readonly #arena: Arena;
  readonly #place: number;
  readonly #frame = ownBytes(16);

  constructor(arena: Arena) {
    this.#arena = arena;
    this.#place = arena.take() ?? bug('no place for the first key');
  }

  get #key(): Address {
    return this.#arena.at(this.#place);
  }

  /** The trace of a conversation in which nothing was said yet. */
  begin(principal: Buffer): Trace {
    const trace = ownBytes(macBytes);
    const holder = ownBytes(16);
    holder.set(principal.subarray(0, 16));
    authenticateMemory(this.#key, [{ address: addressOf(holder), bytes: 16 }], addressOf(trace));
    return trace;
  }

  /** The trace after one more message. */
  next(before: Trace, role: number, pieces: readonly Uint8Array[]): Trace {
    const trace = ownBytes(macBytes);
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
      addressOf(trace),
    );
    return trace;
  }
}

const slotOf = (trace: Trace): number => trace.readUInt32LE(0);

/** Finds what was left under a trace. */
export class TraceIndex<T> {
  readonly #slots = new Map<number, { readonly trace: Trace; readonly value: T }[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Keeps a value under a trace, which is taken over. */
  add(trace: Trace, value: T): void {
    const list = this.#slots.get(slotOf(trace));
    if (list === undefined) this.#slots.set(slotOf(trace), [{ trace, value }]);
    else list.push({ trace, value });
    this.#size += 1;
  }

  /** The values under a trace, the latest last. */
  find(trace: Trace): T[] {
    return (this.#slots.get(slotOf(trace)) ?? [])
      .filter((entry) => entry.trace.equals(trace))
      .map((entry) => entry.value);
  }

  /** Lets go of a trace and overwrites it. */
  remove(trace: Trace, value: T): void {
    const slot = slotOf(trace);
    const list = this.#slots.get(slot);
    const at = list?.findIndex((entry) => entry.trace === trace && entry.value === value) ?? -1;
    if (list !== undefined && at >= 0) {
      list.splice(at, 1);
      this.#size -= 1;
      if (list.length === 0) this.#slots.delete(slot);
    }
    trace.fill(0);
  }
}
