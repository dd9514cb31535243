/**
 * What templates do to text, over bytes: trim, split, replace, count, cut, escape.
 *
 * Promise: results are slices of what came in; only the escapes of `tojson` are new bytes, and they are given to the
 *          caller to overwrite.
 * Limits:  white space is what JavaScript's `trim` takes; positions count code points, as in Python.
 * Source:  https://docs.python.org/3/library/stdtypes.html#string-methods
 * Proof:   test/unit/engine/rope.test.ts
 * @module
 */
import { wordBytes } from '../base/bytes.ts';
import { escape, escapedLength } from './escape.ts';
import type { Budget, Str } from './rope.ts';
import { occurrences, Rope, unsupported } from './rope.ts';

/** The code point that begins at an offset of valid UTF-8, and its length in bytes. */
export function codePoint(bytes: Uint8Array, at: number): { code: number; size: number } {
  const first = bytes[at] ?? 0;
  const next = (i: number) => (bytes[at + i] ?? 0) & 0x3f;
  if (first < 0x80) return { code: first, size: 1 };
  if (first < 0xe0) return { code: ((first & 0x1f) << 6) | next(1), size: 2 };
  if (first < 0xf0) return { code: ((first & 0x0f) << 12) | (next(1) << 6) | next(2), size: 3 };
  return { code: ((first & 0x07) << 18) | (next(1) << 12) | (next(2) << 6) | next(3), size: 4 };
}

const isSpace = (code: number): boolean =>
  (code >= 9 && code <= 13) || code === 0x20 || code === 0xa0 || code === 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
  code === 0x2028 || code === 0x2029 || code === 0x202f || code === 0x205f || code === 0x3000 || code === 0xfeff;

/** Which characters to take off: those of a string, or white space. */
function strippable(chars: Str | null): (code: number) => boolean {
  if (chars === null) return isSpace;
  if (typeof chars !== 'string') throw unsupported('strips characters that a message names');
  const codes = new Set(Array.from(chars, (c) => c.codePointAt(0)));
  return (code) => codes.has(code);
}

/** Python's `strip`, `lstrip` and `rstrip`. */
export function strip(text: Str, sides: 'both' | 'left' | 'right', chars: Str | null, budget: Budget): Str {
  const drop = strippable(chars);
  const rope = Rope.from(text);
  const [from, to] = rope.look(budget, (bytes) => {
    let start = 0;
    let end = bytes.length;
    while (sides !== 'right' && start < end) {
      const { code, size } = codePoint(bytes, start);
      if (!drop(code)) break;
      start += size;
    }
    while (sides !== 'left' && end > start) {
      let last = end - 1;
      while (last > start && ((bytes[last] ?? 0) & 0xc0) === 0x80) last -= 1;
      if (!drop(codePoint(bytes, last).code)) break;
      end = last;
    }
    return [start, end];
  });
  return rope.slice(from, to);
}

/** Python's `split(separator, most)` and, from the right, `rsplit`; without a separator, at runs of white space. */
export function split(text: Str, separator: Str | null, most: number, fromRight: boolean, budget: Budget): Str[] {
  const rope = Rope.from(text);
  const limit = most < 0 ? Number.MAX_SAFE_INTEGER : most;
  if (separator === null) return splitAtSpace(rope, limit, budget);
  const { length } = Rope.from(separator);
  if (length === 0) throw unsupported('splits at nothing');
  const all = occurrences(rope, separator, budget);
  const places = fromRight ? all.slice(Math.max(0, all.length - limit)) : all.slice(0, limit);
  const starts = [0, ...places.map((place) => place + length)];
  return starts.map((start, i) => rope.slice(start, places[i] ?? rope.length));
}

function splitAtSpace(rope: Rope, limit: number, budget: Budget): Str[] {
  const bounds = rope.look(budget, (bytes) => {
    const found: [number, number][] = [];
    let start = -1;
    for (let at = 0; at < bytes.length; ) {
      const { code, size } = codePoint(bytes, at);
      if (!isSpace(code)) {
        if (start < 0) start = at;
        if (found.length >= limit) break;
      } else if (start >= 0) {
        found.push([start, at]);
        start = -1;
      }
      at += size;
    }
    if (start >= 0) found.push([start, bytes.length]);
    return found;
  });
  budget.spend(bounds.length);
  return bounds.map(([from, to]) => rope.slice(from, to));
}

/** Python's `replace(old, replacement, most)`. */
export function replace(text: Str, old: Str, replacement: Str, most: number, budget: Budget): Str {
  const rope = Rope.from(text);
  const { length } = Rope.from(old);
  if (length === 0) throw unsupported('replaces the empty string');
  const places = occurrences(rope, old, budget, most < 0 ? undefined : most);
  if (places.length === 0) return text;
  budget.bytes(rope.length + places.length * (Rope.from(replacement).length - length));
  const parts: Str[] = [];
  let at = 0;
  for (const place of places) {
    parts.push(rope.slice(at, place), replacement);
    at = place + length;
  }
  parts.push(rope.slice(at, rope.length));
  return Rope.concat(parts, budget);
}

/** Whether a text begins or ends with another. */
export function hasEdge(text: Str, edge: Str, side: 'start' | 'end', budget: Budget): boolean {
  const rope = Rope.from(text);
  const wanted = Rope.from(edge);
  if (wanted.length > rope.length) return false;
  const part = Rope.from(side === 'start' ? rope.slice(0, wanted.length) : rope.slice(rope.length - wanted.length, rope.length));
  return part.look(budget, (a) => wanted.look(budget, (b) => Buffer.compare(a, b) === 0));
}

/** The byte offsets at which code points begin, and the length at the end. */
function borders(rope: Rope, budget: Budget): Uint32Array {
  return rope.look(budget, (bytes) => {
    const offsets = new Uint32Array(bytes.length + 1);
    let count = 0;
    for (let at = 0; at < bytes.length; at += 1) if (((bytes[at] ?? 0) & 0xc0) !== 0x80) offsets[count++] = at;
    offsets[count++] = bytes.length;
    return offsets.subarray(0, count);
  });
}

/** The number of code points. */
export function countCharacters(text: Str, budget: Budget): number {
  return borders(Rope.from(text), budget).length - 1;
}

/** One character by its position; negative ones count from the end. */
export function characterAt(text: Str, index: number, budget: Budget): Str | undefined {
  const rope = Rope.from(text);
  const offsets = borders(rope, budget);
  const at = index < 0 ? offsets.length - 1 + index : index;
  const from = offsets[at];
  const to = offsets[at + 1];
  return at < 0 || from === undefined || to === undefined ? undefined : rope.slice(from, to);
}

/** The characters from one position to another, as a Python slice with step 1. */
export function characters(text: Str, start: number | undefined, stop: number | undefined, budget: Budget): Str {
  const rope = Rope.from(text);
  const offsets = borders(rope, budget);
  const count = offsets.length - 1;
  const place = (index: number) => Math.min(count, Math.max(0, index < 0 ? count + index : index));
  const from = place(start ?? 0);
  const to = place(stop ?? count);
  return from < to ? rope.slice(offsets[from] ?? 0, offsets[to] ?? 0) : '';
}

/** Puts white space before every line but the first; blank lines are left alone unless asked. */
export function indent(text: Str, width: Str, first: boolean, blank: boolean, budget: Budget): Str {
  const lines = split(text, '\n', -1, false, budget);
  budget.bytes(Rope.from(text).length + lines.length * Rope.from(width).length);
  const parts: Str[] = [];
  lines.forEach((line, i) => {
    if (i > 0) parts.push('\n');
    if (i === 0 ? first : line !== '' || blank) parts.push(width);
    parts.push(line);
  });
  return Rope.concat(parts, budget);
}

/** A text as JSON; the escaped copy of a conversation slice is given to `own`, which overwrites it in the end. */
export function quote(text: Str, ascii: boolean, budget: Budget, own: (bytes: Buffer) => void): Str {
  if (typeof text === 'string') {
    const quoted = JSON.stringify(text);
    return ascii ? quoted.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`) : quoted;
  }
  const parts: Str[] = ['"'];
  for (const segment of text.segments) {
    const bytes = segment.bytes.subarray(segment.from, segment.to);
    budget.bytes(bytes.length);
    if (segment.origin === 'template') {
      parts.push(JSON.stringify(bytes.toString('utf8')).slice(1, -1));
      continue;
    }
    if (ascii && bytes.some((byte) => byte >= 0x7f)) throw unsupported('writes text of a message as ASCII');
    const size = escapedLength(bytes);
    if (size === bytes.length) {
      parts.push(new Rope([segment]));
      continue;
    }
    const escaped = wordBytes(size);
    own(escaped);
    escape(bytes, escaped, 0);
    parts.push(new Rope([{ bytes: escaped, from: 0, to: size, origin: 'text' }]));
  }
  parts.push('"');
  return Rope.concat(parts, budget);
}
