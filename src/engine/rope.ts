/**
 * Text in a template: constants of the template and slices of the conversation in one value, joined without copying.
 *
 * Promise: a slice of the conversation stays a pair of offsets into the message's bytes, whatever a template does to it,
 *          and never loses the mark of where it came from; only pure template text becomes a string again.
 * Limits:  operations that would have to make new text out of conversation text (upper case, sorting) are refused.
 * Proof:   test/unit/engine/rope.test.ts
 * @module
 */
import { wipeBytes, wordBytes } from '../base/bytes.ts';
import { RequestError } from './request.ts';

/** Some bytes of one origin, never empty. */
export type Segment = { readonly bytes: Buffer; readonly from: number; readonly to: number; readonly origin: 'template' | 'text' };

/** Text with at least one byte of the conversation in it. Text without is a plain string. */
export type Str = string | Rope;

/** The template does something to conversation text that cannot be done without making a string of it. */
export function unsupported(what: string): RequestError {
  return new RequestError('TEMPLATE_UNSUPPORTED', `the model's chat template ${what}, which this server does not do`);
}

/** Counts what a render costs, so that no template runs for long or grows without end. */
export class Budget {
  #steps: number;
  readonly maxBytes: number;

  constructor(steps: number, maxBytes: number) {
    this.#steps = steps;
    this.maxBytes = maxBytes;
  }

  /** @throws `TEMPLATE_LIMIT` when the render has cost too much. */
  spend(steps: number): void {
    this.#steps -= steps;
    if (this.#steps < 0) throw new RequestError('TEMPLATE_LIMIT', "the model's chat template takes too many steps");
  }

  /** Pays for touching so many bytes. @throws `TEMPLATE_LIMIT` when they are more than any prompt may have. */
  bytes(count: number): void {
    if (count > this.maxBytes) throw new RequestError('TEMPLATE_LIMIT', "the model's chat template makes too long a text");
    this.spend(1 + (count >> 6));
  }
}

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

  static from(text: Str): Rope {
    return typeof text === 'string' ? Rope.#ofTemplate(text) : text;
  }

  /** Joins texts; slices that lie side by side in one message become one again. */
  static concat(parts: readonly Str[], budget: Budget): Str {
    if (parts.every((part) => typeof part === 'string')) {
      budget.bytes(parts.reduce((sum, part) => sum + part.length, 0));
      return parts.join('');
    }
    const segments: Segment[] = [];
    let length = 0;
    for (const part of parts) {
      for (const segment of Rope.from(part).segments) {
        const last = segments.at(-1);
        if (last?.bytes === segment.bytes && last.to === segment.from) segments[segments.length - 1] = { ...last, to: segment.to };
        else segments.push(segment);
        length += segment.to - segment.from;
      }
    }
    budget.bytes(length);
    budget.spend(segments.length);
    return new Rope(segments).simplified();
  }

  /** A plain string when nothing of the conversation is in it. */
  simplified(): Str {
    if (this.segments.some((segment) => segment.origin === 'text')) return this;
    return this.segments.map((segment) => segment.bytes.toString('utf8', segment.from, segment.to)).join('');
  }

  /** The bytes from one offset to another. */
  slice(from: number, to: number): Str {
    const segments: Segment[] = [];
    let at = 0;
    for (const segment of this.segments) {
      const size = segment.to - segment.from;
      const first = Math.max(from - at, 0);
      const last = Math.min(to - at, size);
      if (first < last) segments.push({ ...segment, from: segment.from + first, to: segment.from + last });
      at += size;
    }
    return new Rope(segments).simplified();
  }

  /** Calls back with all bytes in one piece; a copy made for that is overwritten afterwards. */
  look<T>(budget: Budget, read: (bytes: Uint8Array) => T): T {
    budget.bytes(this.length);
    const [only] = this.segments;
    if (only !== undefined && this.segments.length === 1) return read(only.bytes.subarray(only.from, only.to));
    const whole = wordBytes(this.length);
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
  if (typeof a === 'string' && typeof b === 'string') return a === b;
  const left = Rope.from(a);
  const right = Rope.from(b);
  if (left.length !== right.length) return false;
  return left.look(budget, (x) => right.look(budget, (y) => Buffer.compare(x, y) === 0));
}

/** Every place of `needle` in `text` as byte offsets, left to right, without overlaps. */
export function occurrences(text: Rope, needle: Str, budget: Budget, most = Number.MAX_SAFE_INTEGER): number[] {
  const wanted = Rope.from(needle);
  return text.look(budget, (haystack) =>
    wanted.look(budget, (pattern) => {
      const found: number[] = [];
      const view = Buffer.from(haystack.buffer, haystack.byteOffset, haystack.length);
      for (let at = 0; found.length < most; ) {
        const place = view.indexOf(pattern, at);
        if (place < 0 || pattern.length === 0) break;
        found.push(place);
        budget.spend(1);
        at = place + pattern.length;
      }
      return found;
    }),
  );
}
