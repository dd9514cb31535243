/**
 * A piece of memory that holds one sealed part of a conversation, and nothing else ever.
 *
 * Promise: before it is given back it is overwritten with random bytes, all of it, in the same step.
 * Proof:   test/unit/layers/5-vault.test.ts, test/unit/layers/5-session-cipher.test.ts
 * @module
 */
import { unpooledBytes } from '../../base/bytes.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { growMemory, mapMemory, unmapMemory, wholePages } from '../../linux/memory/mapped-memory.ts';
import { overwriteMemory, tagBytes } from '../../linux/memory/openssl.ts';

/** Shown the memory between overwriting and giving back; tests look there. */
export type WipeObserver = (address: Address, bytes: number) => void;

export class SealedBuffer {
  /** Bytes of ciphertext. */
  bytes = 0;
  /** The number of the seal under its key: its nonce. */
  sequence = 0;
  readonly tag = unpooledBytes(tagBytes);
  #address: Address;
  #capacity: number;

  /** @throws LinuxError when the kernel has no memory */
  constructor(bytes: number) {
    this.#capacity = wholePages(Math.max(1, bytes));
    this.#address = mapMemory(this.#capacity);
  }

  get address(): Address {
    return this.#address;
  }

  /** Bytes that it takes of the machine. */
  get capacity(): number {
    return this.#capacity;
  }

  /**
   * Makes room for another content; pages that are there already are used again, those that are not needed any more
   * overwritten. @throws LinuxError
   */
  fit(bytes: number, look?: WipeObserver): void {
    const wanted = wholePages(Math.max(1, bytes));
    if (wanted > this.#capacity) {
      this.#address = growMemory(this.#address, this.#capacity, wanted);
      this.#capacity = wanted;
    } else if (wanted < this.#capacity) {
      const tail = this.#address + BigInt(wanted);
      overwriteMemory(tail, this.#capacity - wanted);
      look?.(tail, this.#capacity - wanted);
      unmapMemory(tail, this.#capacity - wanted);
      this.#capacity = wanted;
    }
  }

  /** Overwrites everything with random bytes and gives the memory back; safe to call twice. */
  wipe(look?: WipeObserver): void {
    this.tag.fill(0);
    this.bytes = 0;
    if (this.#capacity === 0) return;
    overwriteMemory(this.#address, this.#capacity);
    look?.(this.#address, this.#capacity);
    unmapMemory(this.#address, this.#capacity);
    this.#capacity = 0;
    this.#address = 0n;
  }
}
