/**
 * Finds stop strings in a completion, across token boundaries.
 *
 * Promise: the stop string that ends a completion is not emitted, and bytes are held back only while they may be the
 *          start of a stop string. The first complete stop string ends the completion (the longest, if several end at
 *          the same byte), so the result does not depend on token boundaries.
 * Limits:  returned views are valid until the next call.
 * Source:  Knuth, Morris and Pratt, "Fast pattern matching in strings" (1977)
 * Proof:   test/unit/engine/stop-matcher.test.ts
 * @module
 */
import { copyPlaintext, wipeBytes } from '../../base/bytes.ts';
import { ByteWriter } from './byte-writer.ts';

/** Bytes to emit, and whether a stop string ended the completion. */
type StopResult = { readonly emit: Buffer; readonly stopped: boolean };

/** One stop string with its failure table. */
class Pattern {
  readonly bytes: Buffer;
  readonly #fallback: Uint16Array;
  /** Length of the longest prefix of the stop string that is a suffix of the text. */
  matched = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = copyPlaintext(bytes);
    this.#fallback = new Uint16Array(Math.max(64, bytes.length));
    for (let i = 1, k = 0; i < bytes.length; i += 1) {
      while (k > 0 && bytes[i] !== bytes[k]) k = this.#fallback[k - 1] ?? 0;
      if (bytes[i] === bytes[k]) k += 1;
      this.#fallback[i] = k;
    }
  }

  /** Matches the next byte. @returns whether the stop string is complete */
  step(byte: number): boolean {
    while (this.matched > 0 && this.bytes[this.matched] !== byte) this.matched = this.#fallback[this.matched - 1] ?? 0;
    if (this.bytes[this.matched] === byte) this.matched += 1;
    return this.matched === this.bytes.length;
  }

  [Symbol.dispose](): void {
    wipeBytes(this.bytes);
    this.#fallback.fill(0);
    this.matched = 0;
  }
}

export class StopMatcher {
  readonly #patterns: readonly Pattern[];
  // `#held` may be the start of a stop string. `#out` is the last returned value.
  readonly #held = new ByteWriter(256);
  readonly #out = new ByteWriter(256);
  #stopped = false;

  /** Copies the stop strings; empty ones never match. */
  constructor(stops: readonly Uint8Array[]) {
    this.#patterns = stops.filter((stop) => stop.length > 0).map((stop) => new Pattern(stop));
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Processes bytes. @returns the bytes that cannot be part of a stop string; none once stopped */
  push(bytes: Buffer): StopResult {
    if (this.#patterns.length === 0) return { emit: bytes, stopped: false };
    this.#out.clear();
    if (this.#stopped) return { emit: this.#out.view(), stopped: true };
    let taken = bytes.length;
    let cut = 0;
    for (let i = 0; i < bytes.length && !this.#stopped; i += 1) {
      for (const pattern of this.#patterns) {
        if (pattern.step(bytes[i] ?? 0)) {
          this.#stopped = true;
          cut = Math.max(cut, pattern.bytes.length);
          taken = i + 1;
        }
      }
    }
    const keep = this.#stopped ? cut : this.#patterns.reduce((most, pattern) => Math.max(most, pattern.matched), 0);
    const safe = this.#held.length + taken - keep;
    const fromHeld = Math.min(safe, this.#held.length);
    this.#out.bytes(this.#held.view().subarray(0, fromHeld)).bytes(bytes.subarray(0, safe - fromHeld));
    if (this.#stopped) this.#held.clear();
    else this.#hold(fromHeld, bytes.subarray(safe - fromHeld));
    return { emit: this.#out.view(), stopped: this.#stopped };
  }

  /** Removes the first `dropped` held bytes and appends `more`. */
  #hold(dropped: number, more: Uint8Array): void {
    if (dropped === this.#held.length && more.length === 0) {
      this.#held.clear();
      return;
    }
    const rest = copyPlaintext(this.#held.view().subarray(dropped));
    this.#held.clear();
    this.#held.bytes(rest).bytes(more);
    wipeBytes(rest);
  }

  /** Ends the input. @returns the bytes that were held back */
  flush(): Buffer {
    this.#out.clear();
    if (!this.#stopped) this.#out.bytes(this.#held.view());
    this.#held.clear();
    for (const pattern of this.#patterns) pattern.matched = 0;
    return this.#out.view();
  }

  /** Overwrites the stop strings, the held bytes and the last returned value. */
  [Symbol.dispose](): void {
    for (const pattern of this.#patterns) pattern[Symbol.dispose]();
    this.#held[Symbol.dispose]();
    this.#out[Symbol.dispose]();
  }
}
