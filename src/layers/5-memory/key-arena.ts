/**
 * The keys of all conversations, in memory that no other process can read, not even one run by root.
 *
 * Promise: a key never leaves its slot: the kernel writes it there, and it is used there, by address, and overwritten
 *          there. This process never holds the data from which a key was derived. A slot is reused only with a fresh
 *          key, so no two conversations share a key.
 * Limits:  without memfd_secret the keys are in locked memory, or in plain memory if locking is also refused. `kind`
 *          states which, and the status reports it as degraded.
 * Source:  memfd_secret(2)
 * Proof:   test/unit/layers/5-key-arena.test.ts, test/attacks/5-derive.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import { bug } from '../../base/errors.ts';
import { LinuxError } from '../../linux/ffi.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { lockMemory, mapMemory, mapSecretMemory, viewMemory } from '../../linux/memory/mapped-memory.ts';
import { cleanseMemory, keyBytes } from '../../linux/memory/openssl.ts';
import { randomMemory } from '../../linux/memory/random.ts';

export const arenaKeys = 16_384;
export const arenaBytes = arenaKeys * keyBytes;

/**
 * `secret`: hidden from every other process; `locked`: kept out of swap; `plain`: hidden no better than other memory.
 */
export type ArenaKind = 'secret' | 'locked' | 'plain';

/** The slot of a key. */
export type KeySlot = number;

export class KeyArena {
  readonly kind: ArenaKind;
  /** Why the arena is not secret; empty if it is. */
  readonly reason: string;
  readonly #base: Address;
  readonly #capacity: number;
  readonly #free: KeySlot[] = [];
  readonly #taken: Uint8Array;
  #next = 0;
  #live = 0;

  private constructor(base: Address, kind: ArenaKind, reason: string, capacity: number) {
    this.#base = base;
    this.kind = kind;
    this.reason = reason;
    this.#capacity = capacity;
    this.#taken = new Uint8Array(capacity);
  }

  /**
   * Maps the secret memory behind a descriptor, or other memory if there is no descriptor. The descriptor may be closed
   * afterwards.
   */
  static open(fd: number | undefined, capacity = arenaKeys): KeyArena {
    let reason = 'this kernel has no memfd_secret';
    if (fd !== undefined) {
      try {
        return new KeyArena(mapSecretMemory(fd, capacity * keyBytes), 'secret', '', capacity);
      } catch (error) {
        if (!(error instanceof LinuxError)) throw error;
        reason = `secret memory could not be mapped (${error.message})`;
      }
    }
    const base = mapMemory(capacity * keyBytes);
    const locked = lockMemory(base, capacity * keyBytes);
    return new KeyArena(
      base,
      locked ? 'locked' : 'plain',
      `${reason}; ${locked ? 'the keys are in locked memory' : 'locking memory was refused too'}`,
      capacity,
    );
  }

  /** Number of keys that exist. */
  get live(): number {
    return this.#live;
  }

  /** Generates a key in a free slot; returns `undefined` if every slot is taken. */
  take(): KeySlot | undefined {
    const place = this.#free.pop() ?? (this.#next < this.#capacity ? this.#next++ : undefined);
    if (place === undefined) return undefined;
    randomMemory(this.#base + BigInt(place * keyBytes), keyBytes);
    this.#taken[place] = 1;
    this.#live += 1;
    return place;
  }

  /** Returns the address of a key. */
  at(place: KeySlot): Address {
    if (this.#taken[place] !== 1) bug('use of a destroyed key');
    return this.#base + BigInt(place * keyBytes);
  }

  /** Overwrites a key and verifies that it was overwritten. */
  destroy(place: KeySlot): void {
    if (this.#taken[place] !== 1) return;
    const address = this.#base + BigInt(place * keyBytes);
    cleanseMemory(address, keyBytes);
    if (viewMemory(address, keyBytes).some((byte) => byte !== 0)) bug('a key was not overwritten');
    this.#taken[place] = 0;
    this.#live -= 1;
    this.#free.push(place);
  }

  /** Overwrites every slot that ever held a key. */
  destroyAll(): void {
    if (this.#next > 0) cleanseMemory(this.#base, this.#next * keyBytes);
    this.#taken.fill(0);
    this.#free.length = 0;
    this.#next = 0;
    this.#live = 0;
  }
}
