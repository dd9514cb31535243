/**
 * A growing buffer of plaintext.
 *
 * Promise: when the buffer grows, the old one is overwritten. `clear` and `[Symbol.dispose]` overwrite the content.
 * Limits:  a view is valid until the next call of any method.
 * Proof:   test/unit/engine/response-json.test.ts
 * @module
 */
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';
import { escapeJson, escapedJsonLength } from '../../base/json-escape.ts';

export class ByteWriter {
  #bytes: Buffer;
  #length = 0;

  constructor(capacity = 1024) {
    this.#bytes = plaintextBytes(Math.max(128, capacity));
  }

  get length(): number {
    return this.#length;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const grown = plaintextBytes(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    wipeBytes(this.#bytes);
    this.#bytes = grown;
  }

  /** Appends ASCII text such as constants, numbers and ids, but never conversation text. */
  ascii(text: string): this {
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i += 1) this.#bytes[this.#length + i] = text.charCodeAt(i);
    this.#length += text.length;
    return this;
  }

  /** Appends a name as a JSON string. It may contain any character, but must not be conversation text. */
  quoted(text: string): this {
    const quoted = JSON.stringify(text).replace(
      /[^\x20-\x7e]/g,
      (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    return this.ascii(quoted);
  }

  /** Appends bytes unchanged. */
  bytes(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** Appends valid UTF-8, escaped as the content of a JSON string. */
  escaped(bytes: Uint8Array): this {
    this.#reserve(escapedJsonLength(bytes));
    this.#length = escapeJson(bytes, this.#bytes, this.#length);
    return this;
  }

  /** Returns a view of what was written. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Overwrites what was written and keeps the memory. */
  clear(): void {
    wipeBytes(this.#bytes.subarray(0, this.#length));
    this.#length = 0;
  }

  /** Overwrites what was written; safe to call twice. */
  [Symbol.dispose](): void {
    this.clear();
  }
}
