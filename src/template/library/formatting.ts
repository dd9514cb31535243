/**
 * Values as text: as `{{ }}` prints them, which is Python's `str`, and as JSON, which is Python's `json.dumps`.
 *
 * Promise: what is new in the place of text of a message (escapes) is given to the caller to overwrite.
 * Limits:  functions, and what has no text of its own under Python, are refused.
 * Source:  https://docs.python.org/3/library/json.html, https://docs.python.org/3/library/functions.html#repr
 * Proof:   test/unit/template/evaluator.test.ts
 * @module
 */
import { plaintextBytes } from '../../base/bytes.ts';
import { escapeJson, escapedJsonLength } from '../../base/json-escape.ts';
import type { Budget } from '../runtime/budget.ts';
import { unsupported } from '../runtime/budget.ts';
import { escapeOf, isPrintable } from './printable-characters.ts';
import type { Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import { codePoint } from './string-ops.ts';
import type { Render, Value } from '../runtime/value.ts';
import { Callable, Dict, Float, isText, List, maxNesting, Safe, tooDeep } from '../runtime/value.ts';

/** How `tojson` writes. */
export type JsonStyle = {
  /** `undefined`: all on one line. */
  readonly indent: string | undefined;
  readonly ascii: boolean;
  readonly sortKeys: boolean;
  readonly item: string;
  readonly key: string;
};

/** A float as Python prints it: the same shortest digits, with an exponent from 16 places on. */
function printFloat(value: number): string {
  const [digits = '', power = '0'] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 16) {
    const plain = value.toFixed(Math.min(100, Math.max(1, digits.replace(/[-.]/g, '').length - 1 - exponent)));
    return Object.is(value, -0) ? '-0.0' : plain;
  }
  return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

function printNumber(value: number | Float): string {
  return typeof value === 'number' ? String(value === 0 ? 0 : value) : printFloat(value.value);
}

/** A text as JSON; the escaped copy of a conversation slice is given to `own`, which overwrites it in the end. */
function quote(text: Str, ascii: boolean, budget: Budget, own: (bytes: Buffer) => void): Str {
  if (typeof text === 'string') {
    budget.each(text.length);
    const quoted = JSON.stringify(text);
    budget.each(quoted.length);
    return ascii
      ? quoted.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
      : quoted;
  }
  const parts: Str[] = ['"'];
  for (const segment of text.segments) {
    const bytes = segment.bytes.subarray(segment.from, segment.to);
    budget.each(bytes.length);
    if (segment.origin === 'template') {
      const inner = quote(bytes.toString('utf8'), ascii, budget, own);
      parts.push(typeof inner === 'string' ? inner.slice(1, -1) : inner);
      continue;
    }
    if (ascii && bytes.some((byte) => byte >= 0x7f)) throw unsupported('writes text of a message as ASCII');
    const size = escapedJsonLength(bytes);
    if (size === bytes.length) {
      parts.push(new Rope([segment]));
      continue;
    }
    budget.each(size);
    budget.hold(4);
    const escaped = plaintextBytes(size);
    own(escaped);
    escapeJson(bytes, escaped, 0);
    parts.push(new Rope([{ bytes: escaped, from: 0, to: size, origin: 'text' }]));
  }
  parts.push('"');
  return Rope.concat(parts, budget);
}

/** Puts brackets around items, on lines of their own when the style says so. */
function layOut(
  items: readonly Str[],
  open: string,
  close: string,
  style: JsonStyle,
  depth: number,
  budget: Budget,
): Str {
  if (items.length === 0) return open + close;
  const line = (level: number) => {
    if (style.indent === undefined) return '';
    budget.each(style.indent.length * level);
    return `\n${style.indent.repeat(level)}`;
  };
  const margin = line(depth + 1);
  const parts: Str[] = [open];
  items.forEach((item, i) => parts.push(i > 0 ? style.item : '', margin, item));
  parts.push(line(depth), close);
  return Rope.concat(parts, budget);
}

/** A value as JSON, as Python's `json.dumps` lays it out. */
export function toJson(value: Value, style: JsonStyle, render: Render, depth = 0): Str {
  const { budget, own } = render;
  budget.spend(1);
  if (depth > maxNesting) throw tooDeep();
  if (isText(value)) return quote(value, style.ascii, budget, own);
  if (value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'number' || value instanceof Float) return printNumber(value);
  if (value instanceof List && (value.kind === 'list' || value.kind === 'tuple')) {
    return layOut(
      value.items.map((item) => toJson(item, style, render, depth + 1)),
      '[',
      ']',
      style,
      depth,
      budget,
    );
  }
  if (!(value instanceof Dict) || value.kind !== 'dict')
    throw unsupported('writes something as JSON that has no such form');
  budget.spend(value.entries.size);
  const entries = style.sortKeys ? sorted([...value.entries], budget) : [...value.entries];
  return layOut(
    entries.map(([key, item]) =>
      Rope.concat(
        [quote(String(key), style.ascii, budget, own), style.key, toJson(item, style, render, depth + 1)],
        budget,
      ),
    ),
    '{',
    '}',
    style,
    depth,
    budget,
  );
}

function sorted(entries: [string | number, Value][], budget: Budget): [string | number, Value][] {
  return entries.sort(([a], [b]) => {
    budget.spend(1);
    if (typeof a === 'number' && typeof b === 'number') return a - b;
    if (typeof a !== 'string' || typeof b !== 'string') throw unsupported('sorts keys of different kinds');
    return orderText(a, b, budget);
  });
}

/** Which of two plain strings comes first, by code points. */
export function orderText(a: string, b: string, budget: Budget): number {
  budget.each(Math.min(a.length, b.length));
  if (a === b) return 0;
  let at = 0;
  while (at < a.length && a.charCodeAt(at) === b.charCodeAt(at)) at += 1;
  const x = a.charCodeAt(at);
  const y = b.charCodeAt(at);
  if (Number.isNaN(x) || Number.isNaN(y)) return a.length - b.length;
  // Units of pairs stand for code points above all others.
  const high = (unit: number) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit);
  return high(x) - high(y);
}

/** A text with quotes around it, as Python's `repr` writes it. */
function quoted(text: Str, render: Render): Str {
  const { budget, own } = render;
  budget.each(text.length);
  if (typeof text === 'string') {
    const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
    const shown = (letter: string): string => {
      const code = letter.codePointAt(0) ?? 0;
      if (letter === mark) return `\\${letter}`;
      return code !== 0x5c && isPrintable(code) ? letter : escapeOf(code);
    };
    const inner = Array.from(text, shown).join('');
    budget.each(inner.length);
    return mark + inner + mark;
  }
  const has = (wanted: number) =>
    text.segments.some(({ bytes, from, to }) => bytes.subarray(from, to).includes(wanted));
  const mark = has(0x27) && !has(0x22) ? 0x22 : 0x27;
  const parts: Str[] = [String.fromCharCode(mark)];
  for (const segment of text.segments) {
    const source = segment.bytes.subarray(segment.from, segment.to);
    budget.each(source.length * 4);
    budget.hold(4);
    const target = plaintextBytes(source.length * 4);
    own(target);
    let length = 0;
    for (let at = 0; at < source.length;) {
      const { code, size } = codePoint(source, at);
      if (code === mark) target[length++] = 0x5c;
      if (code === mark || (code !== 0x5c && isPrintable(code)))
        for (let i = 0; i < size; i += 1) target[length++] = source[at + i] ?? 0;
      else length += target.write(escapeOf(code), length, 'latin1');
      at += size;
    }
    parts.push(new Rope([{ bytes: target, from: 0, to: length, origin: segment.origin }]));
  }
  parts.push(String.fromCharCode(mark));
  return Rope.concat(parts, budget);
}

const listStyle: JsonStyle = { indent: undefined, ascii: false, sortKeys: false, item: ', ', key: ': ' };

/** A value as Python's `repr` writes it. */
function represent(value: Value, render: Render, depth: number): Str {
  render.budget.spend(1);
  if (depth > maxNesting) throw tooDeep();
  if (isText(value)) return quoted(value, render);
  if (value === undefined) return 'Undefined';
  if (value instanceof List && (value.kind === 'list' || value.kind === 'tuple')) {
    const items = value.items.map((item) => represent(item, render, depth + 1));
    if (value.kind === 'tuple')
      return layOut(items, '(', items.length === 1 ? ',)' : ')', listStyle, depth, render.budget);
    return layOut(items, '[', ']', listStyle, depth, render.budget);
  }
  if (value instanceof Dict && value.kind === 'dict') {
    render.budget.spend(value.entries.size);
    const items = [...value.entries].map(([key, item]) =>
      Rope.concat([represent(key, render, depth + 1), ': ', represent(item, render, depth + 1)], render.budget),
    );
    return layOut(items, '{', '}', listStyle, depth, render.budget);
  }
  if (value instanceof List || value instanceof Dict || value instanceof Callable || value instanceof Safe)
    throw unsupported('prints something that has no text of its own');
  return print(value, render);
}

/** A value as `{{ }}` prints it: Python's `str`. */
export function print(value: Value, render: Render): Str {
  if (isText(value)) return value;
  if (value === undefined) return '';
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number' || value instanceof Float) return printNumber(value);
  if (value instanceof Safe) return value.text;
  return represent(value, render, 0);
}
