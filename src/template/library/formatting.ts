/**
 * Converts values to the text that `{{ }}` prints, like Python's `str` and `repr`.
 *
 * Promise: escaped copies of conversation text are passed to the render, which overwrites them when it ends.
 * Limits:  values without a stable text form, such as functions, are refused.
 * Source:  https://docs.python.org/3/library/functions.html#repr
 * Proof:   test/unit/template/evaluator.test.ts
 * @module
 */
import { plaintextBytes } from '../../base/bytes.ts';
import type { Budget } from '../runtime/budget.ts';
import { unsupported } from '../runtime/budget.ts';
import { escapeOf, isPrintable } from './printable-characters.ts';
import type { Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import { codePoint } from './string-ops.ts';
import type { Render, Value } from '../runtime/value.ts';
import { Callable, Dict, Float, isText, List, Markup, maxNesting, valueTooDeep } from '../runtime/value.ts';

/** How items are laid out between brackets. */
export type ItemLayout = {
  /** One level of indentation; `undefined` puts all items on one line. */
  readonly indent: string | undefined;
  /** The separator between items. */
  readonly item: string;
};

/** Formats a float like Python: the fewest digits, with an exponent for values of at least 1e16 or below 1e-4. */
function printFloat(value: number): string {
  const [digits = '', power = '0'] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 16) {
    const plain = value.toFixed(Math.min(100, Math.max(1, digits.replace(/[-.]/g, '').length - 1 - exponent)));
    return Object.is(value, -0) ? '-0.0' : plain;
  }
  return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

export function printNumber(value: number | Float): string {
  return typeof value === 'number' ? String(value === 0 ? 0 : value) : printFloat(value.value);
}

/** Encloses items in brackets. */
export function bracketed(
  items: readonly Str[],
  open: string,
  close: string,
  layout: ItemLayout,
  depth: number,
  budget: Budget,
): Str {
  if (items.length === 0) return open + close;
  const line = (level: number) => {
    if (layout.indent === undefined) return '';
    budget.walk(layout.indent.length * level);
    return `\n${layout.indent.repeat(level)}`;
  };
  const margin = line(depth + 1);
  const parts: Str[] = [open];
  items.forEach((item, i) => parts.push(i > 0 ? layout.item : '', margin, item));
  parts.push(line(depth), close);
  return Rope.concat(parts, budget);
}

/** Returns Python's `repr` of a text. */
function reprText(text: Str, render: Render): Str {
  const { budget, wipeLater } = render;
  budget.walk(text.length);
  if (typeof text === 'string') {
    const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
    const escapeCharacter = (character: string): string => {
      const code = character.codePointAt(0) ?? 0;
      if (character === mark) return `\\${character}`;
      return code !== 0x5c && isPrintable(code) ? character : escapeOf(code);
    };
    const inner = Array.from(text, escapeCharacter).join('');
    budget.walk(inner.length);
    return mark + inner + mark;
  }
  const has = (wanted: number) =>
    text.segments.some(({ bytes, from, to }) => bytes.subarray(from, to).includes(wanted));
  const mark = has(0x27) && !has(0x22) ? 0x22 : 0x27;
  const parts: Str[] = [String.fromCharCode(mark)];
  for (const segment of text.segments) {
    const source = segment.bytes.subarray(segment.from, segment.to);
    budget.walk(source.length * 4);
    budget.retain(4);
    const target = plaintextBytes(source.length * 4);
    wipeLater(target);
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

const onOneLine: ItemLayout = { indent: undefined, item: ', ' };

/** Returns Python's `repr` of a value. */
function repr(value: Value, render: Render, depth: number): Str {
  render.budget.spend(1);
  if (depth > maxNesting) throw valueTooDeep();
  if (isText(value)) return reprText(value, render);
  if (value === undefined) return 'Undefined';
  if (value instanceof List && (value.kind === 'list' || value.kind === 'tuple')) {
    const items = value.items.map((item) => repr(item, render, depth + 1));
    if (value.kind === 'tuple')
      return bracketed(items, '(', items.length === 1 ? ',)' : ')', onOneLine, depth, render.budget);
    return bracketed(items, '[', ']', onOneLine, depth, render.budget);
  }
  if (value instanceof Dict && value.kind === 'dict') {
    render.budget.spend(value.entries.size);
    const items = [...value.entries].map(([key, item]) =>
      Rope.concat([repr(key, render, depth + 1), ': ', repr(item, render, depth + 1)], render.budget),
    );
    return bracketed(items, '{', '}', onOneLine, depth, render.budget);
  }
  if (value instanceof List || value instanceof Dict || value instanceof Callable || value instanceof Markup)
    throw unsupported('prints a value that has no text form');
  return print(value, render);
}

/** Returns the text that `{{ }}` prints for a value, like Python's `str`. @throws `TEMPLATE_UNSUPPORTED` */
export function print(value: Value, render: Render): Str {
  if (isText(value)) return value;
  if (value === undefined) return '';
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number' || value instanceof Float) return printNumber(value);
  if (value instanceof Markup) return value.text;
  return repr(value, render, 0);
}
