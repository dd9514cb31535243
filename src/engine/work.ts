/**
 * The one piece of memory in which a conversation's state stands in plain between the context and its seal.
 *
 * Promise: in no dump and no child, locked against swap as far as the limit allows, overwritten after every use. Its pages
 *          are touched once and used again: fresh ones cost thirty times the copy.
 * Proof:   test/attacks/5-sessions.test.ts
 * @module
 */
import type { Address } from '../linux/memory.ts';
import { fillMemory, lockMemory, mapMemory, unmapMemory, wholePages } from '../linux/memory.ts';

/** Locked parts that are tried, from the whole down. */
const smallestLock = 256 << 10;

export class Work {
  #address: Address = 0n;
  #bytes = 0;
  #locked = 0;

  constructor(bytes: number) {
    this.reserve(bytes);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How much of it cannot be swapped out. */
  get lockedBytes(): number {
    return this.#locked;
  }

  /** Memory for so many bytes, valid until the next call. @throws LinuxError when the kernel has none */
  reserve(bytes: number): Address {
    if (bytes <= this.#bytes) return this.#address;
    const wanted = wholePages(bytes + (bytes >> 2));
    const next = mapMemory(wanted);
    if (this.#bytes > 0) unmapMemory(this.#address, this.#bytes); // overwritten after its last use
    this.#address = next;
    this.#bytes = wanted;
    fillMemory(next, wanted);
    this.#locked = 0;
    for (let part = wanted; part >= smallestLock && this.#locked === 0; part = wholePages(part >> 1)) if (lockMemory(next, part)) this.#locked = part;
    return next;
  }

  /** Overwrites what was used. */
  clear(bytes: number): void {
    fillMemory(this.#address, Math.min(bytes, this.#bytes));
  }
}
