/**
 * Text in a template: constants of the template and slices of the conversation in one value, joined without copying.
 *
 * Promise: a slice of the conversation stays a pair of offsets into the message's bytes, whatever a template does to
 *          it, and never loses the mark of where it came from; only pure template text becomes a string again.
 * Limits:  operations that would have to make new text out of conversation text (titles, sorting) are refused.
 * Proof:   test/unit/template/rope.test.ts
 * @module
 */
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';
import type { Budget } from './budget.ts';
import { search } from '../library/byte-search.ts';

/** Some bytes of one origin, never empty. */
export type Segment = {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
  readonly origin: 'template' | 'text';
};

/** Text with at least one byte of the conversation in it. Text without is a plain string. */
export type Str = string | Rope;

/** What a text costs to look at: its bytes, or at least as many as a string has units. */
export const lengthOf = (text: Str): number => text.length;

/** Text of several origins. */
export class Rope {
  readonly segments: readonly Segment[];
  /** In bytes. */
  readonly length: number;

  constructor(segments: readonly Segment[]) {
    this.segments = segments;
    this.length = segments.reduce((sum, segment) => sum + segment.to - segment.from, 0);
  }

  /** The text of a message; an empty one is the empty string. */
  static ofText(bytes: Buffer): Str {
    return bytes.length === 0 ? '' : new Rope([{ bytes, from: 0, to: bytes.length, origin: 'text' }]);
  }

  static #ofTemplate(text: string): Rope {
    const bytes = Buffer.from(text, 'utf8');
    return new Rope(bytes.length === 0 ? [] : [{ bytes, from: 0, to: bytes.length, origin: 'template' }]);
  }

  /** A text as bytes. */
  static from(text: Str, budget: Budget): Rope {
    if (typeof text !== 'string') return text;
    budget.each(text.length);
    return Rope.#ofTemplate(text);
  }

  /** Joins texts; slices that lie side by side in one message become one again. */
  static concat(parts: readonly Str[], budget: Budget): Str {
    budget.spend(parts.length);
    if (parts.every((part) => typeof part === 'string')) {
      budget.each(parts.reduce((sum, part) => sum + part.length, 0));
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
    budget.bytes(length);
    return new Rope(segments).simplified(budget);
  }

  /** A plain string when nothing of the conversation is in it. */
  simplified(budget: Budget): Str {
    budget.spend(this.segments.length);
    if (this.segments.some((segment) => segment.origin === 'text')) return this;
    budget.each(this.length);
    return this.segments.map((segment) => segment.bytes.toString('utf8', segment.from, segment.to)).join('');
  }

  /** The bytes from one offset to another. */
  slice(from: number, to: number, budget: Budget): Str {
    budget.hold(2);
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
    return new Rope(segments).simplified(budget);
  }

  /** Calls back with all bytes in one piece; a copy made for that is overwritten afterwards. */
  look<T>(budget: Budget, read: (bytes: Uint8Array) => T): T {
    budget.bytes(this.length);
    const [only] = this.segments;
    if (only !== undefined && this.segments.length === 1) return read(only.bytes.subarray(only.from, only.to));
    budget.spend(this.segments.length);
    budget.each(this.length);
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

/** Whether two texts are the same bytes. */
export function equalText(a: Str, b: Str, budget: Budget): boolean {
  if (typeof a === 'string' && typeof b === 'string') {
    budget.bytes(a.length === b.length ? a.length : 0);
    return a === b;
  }
  // A string has between one and three bytes for each of its units.
  const [least, most] =
    typeof a === 'string' ? [a.length, b.length] : typeof b === 'string' ? [b.length, a.length] : [a.length, b.length];
  if (typeof a === 'string' || typeof b === 'string' ? least > most || least * 3 < most : least !== most) return false;
  const left = Rope.from(a, budget);
  const right = Rope.from(b, budget);
  if (left.length !== right.length) return false;
  return left.look(budget, (x) => right.look(budget, (y) => Buffer.compare(x, y) === 0));
}

/** Every place of `needle` in `text` as byte offsets, left to right, without overlaps. */
export function occurrences(text: Rope, needle: Str, budget: Budget, most = Number.MAX_SAFE_INTEGER): number[] {
  const wanted = Rope.from(needle, budget);
  if (wanted.length === 0 || wanted.length > text.length) return [];
  budget.each(text.length + wanted.length);
  const found = text.look(budget, (haystack) => wanted.look(budget, (pattern) => search(haystack, pattern, most)));
  budget.spend(found.length);
  return found;
}
