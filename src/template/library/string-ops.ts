/**
 * String operations on bytes: strip, split, replace, count, slice, join, compare.
 *
 * Promise: results are slices of the operands. Whitespace and line breaks are defined as in Python, and positions count
 *          code points.
 * Source:  https://docs.python.org/3/library/stdtypes.html#string-methods
 * Proof:   test/unit/template/rope.test.ts
 * @module
 */
import type { Budget } from '../runtime/budget.ts';
import { unsupported } from '../runtime/budget.ts';
import type { Str } from '../runtime/rope.ts';
import { occurrences, Rope } from '../runtime/rope.ts';

/** Decodes the code point at an offset in valid UTF-8; `size` is its length in bytes. */
export function codePoint(bytes: Uint8Array, at: number): { code: number; size: number } {
  const first = bytes[at] ?? 0;
  const next = (i: number) => (bytes[at + i] ?? 0) & 0x3f;
  if (first < 0x80) return { code: first, size: 1 };
  if (first < 0xe0) return { code: ((first & 0x1f) << 6) | next(1), size: 2 };
  if (first < 0xf0) return { code: ((first & 0x0f) << 12) | (next(1) << 6) | next(2), size: 3 };
  return { code: ((first & 0x07) << 18) | (next(1) << 12) | (next(2) << 6) | next(3), size: 4 };
}

/** Python's `str.isspace`. */
const isSpace = (code: number): boolean =>
  (code >= 9 && code <= 13) ||
  (code >= 0x1c && code <= 0x20) ||
  code === 0x85 ||
  code === 0xa0 ||
  code === 0x1680 ||
  (code >= 0x2000 && code <= 0x200a) ||
  code === 0x2028 ||
  code === 0x2029 ||
  code === 0x202f ||
  code === 0x205f ||
  code === 0x3000;

/** The line breaks of Python's `splitlines`. */
const isBreak = (code: number): boolean =>
  (code >= 10 && code <= 13) || (code >= 0x1c && code <= 0x1e) || code === 0x85 || code === 0x2028 || code === 0x2029;

/** Returns a predicate for the characters that `strip` removes: those in `chars`, or whitespace if it is null. */
function stripSet(chars: Str | null, budget: Budget): (code: number) => boolean {
  if (chars === null) return isSpace;
  budget.walk(chars.length);
  if (typeof chars !== 'string') throw unsupported('strips characters given by message text');
  const codes = new Set(Array.from(chars, (c) => c.codePointAt(0)));
  return (code) => codes.has(code);
}

/** Python's `strip`, `lstrip` and `rstrip`. */
export function strip(text: Str, sides: 'both' | 'left' | 'right', chars: Str | null, budget: Budget): Str {
  const drop = stripSet(chars, budget);
  const rope = Rope.from(text, budget);
  const [from, to] = rope.withBytes(budget, (bytes) => {
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
    budget.walk(bytes.length - (end - start));
    return [start, end];
  });
  return rope.slice(from, to, budget);
}

/**
 * Python's `split` and, from the right, `rsplit`. Without a separator, the text is split at runs of whitespace.
 * @param most - maximum number of splits; negative for no limit
 */
export function split(text: Str, separator: Str | null, most: number, fromRight: boolean, budget: Budget): Str[] {
  const rope = Rope.from(text, budget);
  const limit = most < 0 ? Number.MAX_SAFE_INTEGER : most;
  if (separator === null) return splitAtSpace(rope, limit, budget);
  const { length } = Rope.from(separator, budget);
  if (length === 0) throw unsupported('splits at the empty string');
  const all = occurrences(rope, separator, budget);
  const places = fromRight ? all.slice(Math.max(0, all.length - limit)) : all.slice(0, limit);
  const starts = [0, ...places.map((place) => place + length)];
  return starts.map((start, i) => rope.slice(start, places[i] ?? rope.length, budget));
}

function splitAtSpace(rope: Rope, limit: number, budget: Budget): Str[] {
  budget.walk(rope.length);
  const bounds = rope.withBytes(budget, (bytes) => {
    const found: [number, number][] = [];
    let start = -1;
    for (let at = 0; at < bytes.length;) {
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
  return bounds.map(([from, to]) => rope.slice(from, to, budget));
}

/** Python's `replace`. @param most - maximum number of replacements; negative for no limit */
export function replace(text: Str, old: Str, replacement: Str, most: number, budget: Budget): Str {
  const rope = Rope.from(text, budget);
  const { length } = Rope.from(old, budget);
  if (length === 0) throw unsupported('replaces the empty string');
  const places = occurrences(rope, old, budget, most < 0 ? undefined : most);
  if (places.length === 0) return text;
  budget.scan(rope.length + places.length * (Rope.from(replacement, budget).length - length));
  const parts: Str[] = [];
  let at = 0;
  for (const place of places) {
    parts.push(rope.slice(at, place, budget), replacement);
    at = place + length;
  }
  parts.push(rope.slice(at, rope.length, budget));
  return Rope.concat(parts, budget);
}

/** Python's `startswith` and `endswith`. */
export function hasAffix(text: Str, affix: Str, side: 'start' | 'end', budget: Budget): boolean {
  const rope = Rope.from(text, budget);
  const wanted = Rope.from(affix, budget);
  if (wanted.length > rope.length) return false;
  const part = Rope.from(
    side === 'start'
      ? rope.slice(0, wanted.length, budget)
      : rope.slice(rope.length - wanted.length, rope.length, budget),
    budget,
  );
  return part.withBytes(budget, (a) => wanted.withBytes(budget, (b) => Buffer.compare(a, b) === 0));
}

const isContinuation = (byte: number | undefined) => ((byte ?? 0) & 0xc0) === 0x80;

/** Returns the byte offset of a character, clamped to the text. A negative position counts from the end. */
function byteOffset(bytes: Uint8Array, position: number, budget: Budget): number {
  let at = position < 0 ? bytes.length : 0;
  for (let left = Math.min(Math.abs(position), bytes.length); left > 0; left -= 1) {
    const step = position < 0 ? -1 : 1;
    if (at + step < 0 || at + step > bytes.length) break;
    at += step;
    while (at > 0 && at < bytes.length && isContinuation(bytes[at])) at += step;
  }
  budget.walk(position < 0 ? bytes.length - at : at);
  return at;
}

/** Counts code points. */
export function countCharacters(text: Str, budget: Budget): number {
  const rope = Rope.from(text, budget);
  budget.walk(rope.length);
  return rope.withBytes(budget, (bytes) => {
    let count = 0;
    for (let at = 0; at < bytes.length; at += 1) if (!isContinuation(bytes[at])) count += 1;
    return count;
  });
}

/** Returns the character at a position. A negative position counts from the end. */
export function characterAt(text: Str, index: number, budget: Budget): Str | undefined {
  const rope = Rope.from(text, budget);
  const [from, to] = rope.withBytes(budget, (bytes) => {
    const start = byteOffset(bytes, index, budget);
    // A negative position may lie before the first character.
    if (index < 0 && start === 0 && countUpTo(bytes, -index) < -index) return [0, 0];
    return [start, start < bytes.length ? start + codePoint(bytes, start).size : start];
  });
  return from < to ? rope.slice(from, to, budget) : undefined;
}

/** Counts characters up to `most`. */
function countUpTo(bytes: Uint8Array, most: number): number {
  let count = 0;
  for (let at = 0; at < bytes.length && count < most; at += 1) if (!isContinuation(bytes[at])) count += 1;
  return count;
}

/** Returns a Python slice with a step of 1. */
export function characters(text: Str, start: number | undefined, stop: number | undefined, budget: Budget): Str {
  const rope = Rope.from(text, budget);
  const [from, to] = rope.withBytes(budget, (bytes) => [
    byteOffset(bytes, start ?? 0, budget),
    stop === undefined ? bytes.length : byteOffset(bytes, stop, budget),
  ]);
  return from < to ? rope.slice(from, to, budget) : '';
}

/** Returns each character as a separate text. */
export function charactersOf(text: Str, budget: Budget): Str[] {
  const rope = Rope.from(text, budget);
  budget.walk(rope.length);
  const offsets = rope.withBytes(budget, (bytes) => {
    const found: number[] = [];
    for (let at = 0; at < bytes.length; at += 1) if (!isContinuation(bytes[at])) found.push(at);
    return found;
  });
  budget.spend(offsets.length);
  if (typeof text === 'string') return Array.from(text);
  return offsets.map((from, i) => rope.slice(from, offsets[i + 1] ?? rope.length, budget));
}

/** Python's `splitlines()`. */
export function splitLines(text: Str, budget: Budget): Str[] {
  const rope = Rope.from(text, budget);
  budget.walk(rope.length);
  const bounds = rope.withBytes(budget, (bytes) => {
    const found: [number, number][] = [];
    let start = 0;
    for (let at = 0; at < bytes.length;) {
      const { code, size } = codePoint(bytes, at);
      const end = at;
      at += size;
      if (!isBreak(code)) continue;
      if (code === 13 && bytes[at] === 10) at += 1;
      found.push([start, end]);
      start = at;
    }
    if (start < bytes.length) found.push([start, bytes.length]);
    return found;
  });
  budget.spend(bounds.length);
  return bounds.map(([from, to]) => rope.slice(from, to, budget));
}

/** Jinja's `indent`. @param first - whether to indent the first line @param blank - whether to indent blank lines */
export function indent(text: Str, width: Str, first: boolean, blank: boolean, budget: Budget): Str {
  const lines = splitLines(Rope.concat([text, '\n'], budget), budget);
  budget.scan(text.length + lines.length * width.length);
  const parts: Str[] = first ? [width] : [];
  lines.forEach((line, i) => {
    if (i > 0) parts.push('\n');
    if (i > 0 && (line !== '' || blank)) parts.push(width);
    parts.push(line);
  });
  return Rope.concat(parts, budget);
}

/** Joins texts with a separator. */
export function join(items: readonly Str[], separator: Str, budget: Budget): Str {
  const separators = Math.max(0, items.length - 1);
  budget.scan(separators * separator.length);
  return Rope.concat(
    items.flatMap((item, i) => (i > 0 ? [separator, item] : [item])),
    budget,
  );
}

/** Compares two plain strings by code points: negative if `a` comes first, 0 if they are equal. */
export function compareTexts(a: string, b: string, budget: Budget): number {
  budget.walk(Math.min(a.length, b.length));
  if (a === b) return 0;
  let at = 0;
  while (at < a.length && a.charCodeAt(at) === b.charCodeAt(at)) at += 1;
  const x = a.charCodeAt(at);
  const y = b.charCodeAt(at);
  if (Number.isNaN(x) || Number.isNaN(y)) return a.length - b.length;
  // Surrogates encode code points above all others.
  const rank = (unit: number) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit);
  return rank(x) - rank(y);
}
