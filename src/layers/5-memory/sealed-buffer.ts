/**
 * The memory of one sealed part of a conversation, used for nothing else.
 *
 * Promise: all of it is overwritten with random bytes before it is freed, in the same step.
 * Proof:   test/unit/layers/5-vault.test.ts, test/unit/layers/5-session-cipher.test.ts
 * @module
 */
import { unpooledBytes } from '../../base/bytes.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { growMemory, mapMemory, unmapMemory, wholePages } from '../../linux/memory/mapped-memory.ts';
import { overwriteMemory, tagBytes } from '../../linux/memory/openssl.ts';

/** Is shown memory after it was overwritten and before it is freed. */
export type WipeObserver = (address: Address, bytes: number) => void;

export class SealedBuffer {
  /** Bytes of ciphertext. */
  bytes = 0;
  /** How many parts were sealed under the key before and with this one: its nonce. */
  sequence = 0;
  readonly tag = unpooledBytes(tagBytes);
  #address: Address;
  #capacity: number;

  /** @throws LinuxError if the kernel has no memory */
  constructor(bytes: number) {
    this.#capacity = wholePages(Math.max(1, bytes));
    this.#address = mapMemory(this.#capacity);
  }

  get address(): Address {
    return this.#address;
  }

  /** Bytes of memory that it takes. */
  get capacity(): number {
    return this.#capacity;
  }

  /**
   * Changes the size for another content; pages are reused, and those that are no longer needed are overwritten and
   * freed. @throws LinuxError
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
