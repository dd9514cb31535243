/**
 * Completes characters that are split across tokens, and replaces invalid UTF-8.
 *
 * Promise: the output is valid UTF-8 without split characters. It does not depend on how the input is split, and equals
 *          the output of a WHATWG decoder for the whole input.
 * Limits:  returned views are valid until the next call.
 * Source:  https://encoding.spec.whatwg.org/#utf-8-decoder
 * Proof:   test/unit/engine/utf8.test.ts
 * @module
 */
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';
import { ByteWriter } from './byte-writer.ts';

const replacement = Uint8Array.of(0xef, 0xbf, 0xbd);

export class Utf8Holdback {
  readonly #out = new ByteWriter(256);
  // An incomplete character: its bytes, their count, and the number of missing bytes.
  readonly #held = plaintextBytes(4);
  #count = 0;
  #missing = 0;
  #lower = 0x80;
  #upper = 0xbf;

  /** Number of bytes held back. */
  get held(): number {
    return this.#count;
  }

  /** Processes bytes. @returns the complete characters */
  push(bytes: Uint8Array): Buffer {
    const out = this.#out;
    out.clear();
    let plainFrom = 0;
    for (let i = 0; i < bytes.length; i += 1) {
      const byte = bytes[i] ?? 0;
      if (this.#missing === 0) {
        if (byte < 0x80) continue;
        if (i > plainFrom) out.bytes(bytes.subarray(plainFrom, i));
        plainFrom = i + 1;
        this.#begin(byte);
      } else if (byte < this.#lower || byte > this.#upper) {
        this.#drop();
        plainFrom = i;
        i -= 1; // the byte starts another character
      } else {
        this.#held[this.#count++] = byte;
        this.#missing -= 1;
        this.#lower = 0x80;
        this.#upper = 0xbf;
        plainFrom = i + 1;
        if (this.#missing === 0) {
          out.bytes(this.#held.subarray(0, this.#count));
          this.#reset();
        }
      }
    }
    if (this.#missing === 0 && plainFrom < bytes.length) out.bytes(bytes.subarray(plainFrom));
    return out.view();
  }

  /** Ends the input. @returns U+FFFD for an incomplete character */
  flush(): Buffer {
    this.#out.clear();
    if (this.#missing > 0) this.#drop();
    return this.#out.view();
  }

  #begin(byte: number): void {
    if (byte >= 0xc2 && byte <= 0xdf) this.#missing = 1;
    else if (byte >= 0xe0 && byte <= 0xef) {
      this.#missing = 2;
      if (byte === 0xe0) this.#lower = 0xa0;
      if (byte === 0xed) this.#upper = 0x9f;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
      this.#missing = 3;
      if (byte === 0xf0) this.#lower = 0x90;
      if (byte === 0xf4) this.#upper = 0x8f;
    } else {
      this.#out.bytes(replacement);
      return;
    }
    this.#held[0] = byte;
    this.#count = 1;
  }

  #drop(): void {
    this.#out.bytes(replacement);
    this.#reset();
  }

  #reset(): void {
    wipeBytes(this.#held);
    this.#count = 0;
    this.#missing = 0;
    this.#lower = 0x80;
    this.#upper = 0xbf;
  }

  /** Overwrites the held bytes and the last returned value. */
  [Symbol.dispose](): void {
    this.#reset();
    this.#out[Symbol.dispose]();
  }
}
