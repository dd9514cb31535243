/**
 * A buffer in the working set. Sealed text and KV states are opened into it and sealed from it.
 *
 * Promise: the buffer is excluded from core dumps and from child processes, locked against swap as far as the limit
 *          allows, and overwritten after every use. Its pages stay mapped, because faulting in fresh ones takes thirty
 *          times as long as copying the data.
 * Proof:   test/attacks/5-sessions.test.ts
 * @module
 */
import type { Piece, WorkingSet } from '../../layers/5-memory/working-set.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { fillMemory, lockMemory, unlockMemory, wholePages } from '../../linux/memory/mapped-memory.ts';

/** The smallest part worth locking, in bytes. Locking is tried on the whole buffer, then on half of it, and so on. */
const smallestLock = 256 << 10;

export class PlaintextBuffer {
  readonly #set: WorkingSet;
  #piece: Piece | undefined;
  #locked = 0;

  constructor(set: WorkingSet, bytes: number) {
    this.#set = set;
    this.reserve(bytes);
  }

  get bytes(): number {
    return this.#piece?.bytes ?? 0;
  }

  /** Number of bytes locked against swap. */
  get lockedBytes(): number {
    return this.#locked;
  }

  /** Returns the address of at least `bytes` bytes, valid until the next call. @throws LinuxError if memory runs out */
  reserve(bytes: number): Address {
    if (this.#piece !== undefined && bytes <= this.#piece.bytes) return this.#set.address(this.#piece);
    const next = this.#set.claim(wholePages(bytes + (bytes >> 2)));
    if (this.#piece !== undefined) {
      if (this.#locked > 0) unlockMemory(this.#set.address(this.#piece), this.#locked);
      this.#set.release(this.#piece);
    }
    this.#piece = next;
    this.#locked = 0;
    const address = this.#set.address(next);
    fillMemory(address, next.bytes);
    for (let part = next.bytes; part >= smallestLock && this.#locked === 0; part = wholePages(part >> 1))
      if (lockMemory(address, part)) this.#locked = part;
    return address;
  }

  /** Overwrites the first `bytes` bytes. */
  clear(bytes: number): void {
    if (this.#piece !== undefined) fillMemory(this.#set.address(this.#piece), Math.min(bytes, this.#piece.bytes));
  }
}
