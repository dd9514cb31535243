/**
 * Converts values to JSON, in the layout of Python's `json.dumps`.
 *
 * Promise: escaped copies of conversation text are passed to the render, which overwrites them when it ends.
 * Limits:  functions and values without a JSON form are refused, as is non-ASCII conversation text with `ensure_ascii`.
 * Source:  https://docs.python.org/3/library/json.html
 * Proof:   test/unit/template/evaluator.test.ts
 * @module
 */
import { plaintextBytes } from '../../base/bytes.ts';
import { escapeJson, escapedJsonLength } from '../../base/json-escape.ts';
import type { Budget } from '../runtime/budget.ts';
import { unsupported } from '../runtime/budget.ts';
import type { ItemLayout } from './formatting.ts';
import { bracketed, printNumber } from './formatting.ts';
import type { Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import { compareTexts } from './string-ops.ts';
import type { Render, Value } from '../runtime/value.ts';
import { Dict, Float, isText, List, maxNesting, valueTooDeep } from '../runtime/value.ts';

/** The options of `tojson`. `item` and `key` are the separators. */
type JsonStyle = ItemLayout & { readonly ascii: boolean; readonly sortKeys: boolean; readonly key: string };

/** Returns a text as a JSON string. */
function jsonText(text: Str, ascii: boolean, budget: Budget, wipeLater: (bytes: Buffer) => void): Str {
  if (typeof text === 'string') {
    budget.walk(text.length);
    const quoted = JSON.stringify(text);
    budget.walk(quoted.length);
    return ascii
      ? quoted.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
      : quoted;
  }
  const parts: Str[] = ['"'];
  for (const segment of text.segments) {
    const bytes = segment.bytes.subarray(segment.from, segment.to);
    budget.walk(bytes.length);
    if (segment.origin === 'template') {
      const inner = jsonText(bytes.toString('utf8'), ascii, budget, wipeLater);
      parts.push(typeof inner === 'string' ? inner.slice(1, -1) : inner);
      continue;
    }
    if (ascii && bytes.some((byte) => byte >= 0x7f)) throw unsupported('escapes message text to ASCII');
    const size = escapedJsonLength(bytes);
    if (size === bytes.length) {
      parts.push(new Rope([segment]));
      continue;
    }
    budget.walk(size);
    budget.retain(4);
    const escaped = plaintextBytes(size);
    wipeLater(escaped);
    escapeJson(bytes, escaped, 0);
    parts.push(new Rope([{ bytes: escaped, from: 0, to: size, origin: 'text' }]));
  }
  parts.push('"');
  return Rope.concat(parts, budget);
}

/** Returns a value as JSON. @throws `TEMPLATE_UNSUPPORTED` if the value has no JSON form */
export function toJson(value: Value, style: JsonStyle, render: Render, depth = 0): Str {
  const { budget, wipeLater } = render;
  budget.spend(1);
  if (depth > maxNesting) throw valueTooDeep();
  if (isText(value)) return jsonText(value, style.ascii, budget, wipeLater);
  if (value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'number' || value instanceof Float) return printNumber(value);
  if (value instanceof List && (value.kind === 'list' || value.kind === 'tuple')) {
    return bracketed(
      value.items.map((item) => toJson(item, style, render, depth + 1)),
      '[',
      ']',
      style,
      depth,
      budget,
    );
  }
  if (!(value instanceof Dict) || value.kind !== 'dict')
    throw unsupported('converts a value to JSON that has no JSON form');
  budget.spend(value.entries.size);
  const entries = style.sortKeys ? sortedEntries([...value.entries], budget) : [...value.entries];
  return bracketed(
    entries.map(([key, item]) =>
      Rope.concat(
        [jsonText(String(key), style.ascii, budget, wipeLater), style.key, toJson(item, style, render, depth + 1)],
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

function sortedEntries(entries: [string | number, Value][], budget: Budget): [string | number, Value][] {
  return entries.sort(([a], [b]) => {
    budget.spend(1);
    if (typeof a === 'number' && typeof b === 'number') return a - b;
    if (typeof a !== 'string' || typeof b !== 'string') throw unsupported('sorts keys of different types');
    return compareTexts(a, b, budget);
  });
}
