/**
 * The one piece of the working set in which a conversation's state stands in plain between the context and its seal.
 *
 * Promise: in no dump and no child, locked against swap as far as the limit allows, overwritten after every use. Its
 *          pages are touched once and used again: fresh ones cost thirty times the copy.
 * Proof:   test/attacks/5-sessions.test.ts
 * @module
 */
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { fillMemory, lockMemory, unlockMemory, wholePages } from '../../linux/memory/mapped-memory.ts';
import type { Piece, WorkingSet } from '../../layers/5-memory/working-set.ts';

/** Locked parts that are tried, from the whole down. */
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

  /** How much of it cannot be swapped out. */
  get lockedBytes(): number {
    return this.#locked;
  }

  /** Memory for so many bytes, valid until the next call. @throws LinuxError when there is none */
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

  /** Overwrites what was used. */
  clear(bytes: number): void {
    if (this.#piece !== undefined) fillMemory(this.#set.address(this.#piece), Math.min(bytes, this.#piece.bytes));
  }
}
