/**
 * Memory that holds one sealed part of a conversation and nothing else.
 *
 * Promise: all of it is overwritten with random bytes immediately before it is freed.
 * Proof:   test/unit/layers/5-vault.test.ts, test/unit/layers/5-session-cipher.test.ts
 * @module
 */
import { unpooledBytes } from '../../base/bytes.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { growMemory, mapMemory, unmapMemory, wholePages } from '../../linux/memory/mapped-memory.ts';
import { overwriteMemory, tagBytes } from '../../linux/memory/openssl.ts';

/** Called with the memory after it was overwritten and before it is freed. */
export type WipeObserver = (address: Address, bytes: number) => void;

export class SealedBuffer {
  /** Length of the ciphertext in bytes. */
  bytes = 0;
  /** Number of parts sealed under the key up to and including this one; used in the nonce. */
  sequence = 0;
  readonly tag = unpooledBytes(tagBytes);
  #address: Address;
  #capacity: number;

  /** @throws LinuxError if the kernel has no free memory */
  constructor(bytes: number) {
    this.#capacity = wholePages(Math.max(1, bytes));
    this.#address = mapMemory(this.#capacity);
  }

  get address(): Address {
    return this.#address;
  }

  /** Size of the memory in bytes. */
  get capacity(): number {
    return this.#capacity;
  }

  /**
   * Resizes the memory for new content. Pages are reused; pages that are no longer needed are overwritten and freed.
   * @throws LinuxError
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

  /** Overwrites everything with random bytes and frees the memory; a second call does nothing. */
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
