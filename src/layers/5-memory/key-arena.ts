/**
 * The keys of all conversations, side by side in one piece of memory that no other process can read, root's included.
 *
 * Promise: a key never leaves its place: the kernel writes it there, it is used there by address, and overwritten
 *          there. What it was made from is in no memory of this process. A place is given out again only with a fresh
 *          key, so no two conversations ever share one.
 * Limits:  where the kernel has no memfd_secret the keys lie in locked memory, or in plain memory where even that is
 *          refused; `kind` says which, and the status calls it degraded.
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

/** How well the keys are hidden: from every process, from swap, or not beyond what hides the process itself. */
export type ArenaKind = 'secret' | 'locked' | 'plain';

/** The place of a key. */
export type KeySlot = number;

export class KeyArena {
  readonly kind: ArenaKind;
  /** Why it is not secret; empty when it is. */
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
   * Takes secret memory of {@link arenaBytes} behind a descriptor, or does without. The descriptor may be closed then.
   */
  static open(fd: number | undefined, capacity = arenaKeys): KeyArena {
    let reason = 'this kernel gave no memfd_secret';
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
      `${reason}; ${locked ? 'the keys lie in locked memory' : 'and locking memory was refused'}`,
      capacity,
    );
  }

  /** How many keys there are. */
  get live(): number {
    return this.#live;
  }

  /** Makes a key; `undefined` when every place is taken. */
  take(): KeySlot | undefined {
    const place = this.#free.pop() ?? (this.#next < this.#capacity ? this.#next++ : undefined);
    if (place === undefined) return undefined;
    randomMemory(this.#base + BigInt(place * keyBytes), keyBytes);
    this.#taken[place] = 1;
    this.#live += 1;
    return place;
  }

  /** Where a living key stands. */
  at(place: KeySlot): Address {
    if (this.#taken[place] !== 1) bug('a key that was destroyed');
    return this.#base + BigInt(place * keyBytes);
  }

  /** Overwrites a key and looks that it is gone. */
  destroy(place: KeySlot): void {
    if (this.#taken[place] !== 1) return;
    const address = this.#base + BigInt(place * keyBytes);
    cleanseMemory(address, keyBytes);
    if (viewMemory(address, keyBytes).some((byte) => byte !== 0)) bug('a key that could not be overwritten');
    this.#taken[place] = 0;
    this.#live -= 1;
    this.#free.push(place);
  }

  /** Overwrites every place that ever held a key; all keys are gone then. */
  destroyAll(): void {
    if (this.#next > 0) cleanseMemory(this.#base, this.#next * keyBytes);
    this.#taken.fill(0);
    this.#free.length = 0;
    this.#next = 0;
    this.#live = 0;
  }
}
