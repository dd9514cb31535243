/**
 * A rope: a text value that concatenates template constants and slices of conversation text without copying them.
 *
 * Promise: a slice of the conversation remains a pair of offsets into the message's bytes and keeps its origin,
 *          whatever the template does to it. Only pure template text becomes a string.
 * Limits:  operations that would create strings from conversation text (title case, sorting) are refused.
 * Proof:   test/unit/template/rope.test.ts
 * @module
 */
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';
import type { Budget } from './budget.ts';
import { search } from '../library/byte-search.ts';

/** A non-empty slice of bytes with a single origin. */
export type Segment = {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
  readonly origin: 'template' | 'text';
};

/** A text, which is a rope if it contains conversation text and a plain string otherwise. */
export type Str = string | Rope;

/** A sequence of segments with different origins. */
export class Rope {
  readonly segments: readonly Segment[];
  /** Length in bytes. */
  readonly length: number;

  constructor(segments: readonly Segment[]) {
    this.segments = segments;
    this.length = segments.reduce((sum, segment) => sum + segment.to - segment.from, 0);
  }

  /** Wraps the text of a message. An empty text becomes the empty string. */
  static fromMessage(bytes: Buffer): Str {
    return bytes.length === 0 ? '' : new Rope([{ bytes, from: 0, to: bytes.length, origin: 'text' }]);
  }

  static #fromTemplate(text: string): Rope {
    const bytes = Buffer.from(text, 'utf8');
    return new Rope(bytes.length === 0 ? [] : [{ bytes, from: 0, to: bytes.length, origin: 'template' }]);
  }

  /** Converts a text to a rope. */
  static from(text: Str, budget: Budget): Rope {
    if (typeof text !== 'string') return text;
    budget.walk(text.length);
    return Rope.#fromTemplate(text);
  }

  /** Concatenates texts and merges adjacent slices of one message. */
  static concat(parts: readonly Str[], budget: Budget): Str {
    budget.spend(parts.length);
    if (parts.every((part) => typeof part === 'string')) {
      budget.walk(parts.reduce((sum, part) => sum + part.length, 0));
      return parts.join('');
    }
    const segments: Segment[] = [];
    let length = 0;
    for (const part of parts) {
      const rope = Rope.from(part, budget);
      budget.spend(rope.segments.length);
      for (const segment of rope.segments) {
        const last = segments.at(-1);
        if (last?.bytes === segment.bytes && last.to === segment.from)
          segments[segments.length - 1] = { ...last, to: segment.to };
        else segments.push(segment);
        length += segment.to - segment.from;
      }
    }
    budget.scan(length);
    return new Rope(segments).flattened(budget);
  }

  /** Returns a plain string if the rope contains no conversation text, or else the rope itself. */
  flattened(budget: Budget): Str {
    budget.spend(this.segments.length);
    if (this.segments.some((segment) => segment.origin === 'text')) return this;
    budget.walk(this.length);
    return this.segments.map((segment) => segment.bytes.toString('utf8', segment.from, segment.to)).join('');
  }

  /** Returns the slice between two byte offsets. */
  slice(from: number, to: number, budget: Budget): Str {
    budget.retain(2);
    budget.spend(this.segments.length);
    const segments: Segment[] = [];
    let at = 0;
    for (const segment of this.segments) {
      const size = segment.to - segment.from;
      const first = Math.max(from - at, 0);
      const last = Math.min(to - at, size);
      if (first < last) segments.push({ ...segment, from: segment.from + first, to: segment.from + last });
      at += size;
    }
    return new Rope(segments).flattened(budget);
  }

  /** Calls `read` with contiguous bytes. If this requires a copy, the copy is overwritten afterwards. */
  withBytes<T>(budget: Budget, read: (bytes: Uint8Array) => T): T {
    budget.scan(this.length);
    const [only] = this.segments;
    if (only !== undefined && this.segments.length === 1) return read(only.bytes.subarray(only.from, only.to));
    budget.spend(this.segments.length);
    budget.walk(this.length);
    const whole = plaintextBytes(this.length);
    try {
      let at = 0;
      for (const segment of this.segments) {
        whole.set(segment.bytes.subarray(segment.from, segment.to), at);
        at += segment.to - segment.from;
      }
      return read(whole);
    } finally {
      wipeBytes(whole);
    }
  }
}

/** Returns whether two texts are equal. */
export function equalTexts(a: Str, b: Str, budget: Budget): boolean {
  if (typeof a === 'string' && typeof b === 'string') {
    budget.scan(a.length === b.length ? a.length : 0);
    return a === b;
  }
  // A UTF-16 code unit takes one to three bytes in UTF-8.
  const [least, most] =
    typeof a === 'string' ? [a.length, b.length] : typeof b === 'string' ? [b.length, a.length] : [a.length, b.length];
  if (typeof a === 'string' || typeof b === 'string' ? least > most || least * 3 < most : least !== most) return false;
  const left = Rope.from(a, budget);
  const right = Rope.from(b, budget);
  if (left.length !== right.length) return false;
  return left.withBytes(budget, (x) => right.withBytes(budget, (y) => Buffer.compare(x, y) === 0));
}

/** Returns the byte offsets of the non-overlapping occurrences of `needle` in `text`, left to right. */
export function occurrences(text: Rope, needle: Str, budget: Budget, most = Number.MAX_SAFE_INTEGER): number[] {
  const wanted = Rope.from(needle, budget);
  if (wanted.length === 0 || wanted.length > text.length) return [];
  budget.walk(text.length + wanted.length);
  const found = text.withBytes(budget, (haystack) =>
    wanted.withBytes(budget, (pattern) => search(haystack, pattern, most)),
  );
  budget.spend(found.length);
  return found;
}
