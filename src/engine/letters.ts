/**
 * Upper and lower case of text of messages, over bytes, by a table made once from the code points themselves.
 *
 * Promise: the letters of a message are looked up as numbers; the changed bytes are new ones that the caller overwrites.
 * Limits:  code point by code point: the Greek final sigma is not told apart by its place in a word.
 * Proof:   test/unit/engine/rope.test.ts
 * @module
 */
import { wordBytes } from '../base/bytes.ts';
import type { Segment } from './rope.ts';
import { Rope } from './rope.ts';
import { codePoint } from './text.ts';
import type { Render } from './value.ts';

type Case = 'upper' | 'lower';

/** The UTF-8 bytes of every code point above ASCII that has another letter in this case. */
function makeTable(wanted: Case): ReadonlyMap<number, Buffer> {
  const table = new Map<number, Buffer>();
  for (let code = 0x80; code < 0x1f000; code += 1) {
    if (code >= 0xd800 && code < 0xe000) continue;
    const letter = String.fromCodePoint(code);
    const changed = wanted === 'upper' ? letter.toUpperCase() : letter.toLowerCase();
    if (changed !== letter) table.set(code, Buffer.from(changed, 'utf8'));
  }
  return table;
}

const tables = new Map<Case, ReadonlyMap<number, Buffer>>();

function tableOf(wanted: Case): ReadonlyMap<number, Buffer> {
  const table = tables.get(wanted) ?? makeTable(wanted);
  tables.set(wanted, table);
  return table;
}

function change(segment: Segment, wanted: Case, render: Render): Segment {
  const source = segment.bytes.subarray(segment.from, segment.to);
  render.budget.bytes(source.length * 4);
  const table = tableOf(wanted);
  const first = wanted === 'upper' ? 0x61 : 0x41;
  // No letter grows more than threefold.
  const target = wordBytes(source.length * 3);
  render.own(target);
  let length = 0;
  for (let at = 0; at < source.length; ) {
    const { code, size } = codePoint(source, at);
    const changed = code < 0x80 ? undefined : table.get(code);
    if (changed !== undefined) {
      target.set(changed, length);
      length += changed.length;
    } else if (code < 0x80) target[length++] = code >= first && code < first + 26 ? code ^ 0x20 : code;
    else for (let i = 0; i < size; i += 1) target[length++] = source[at + i] ?? 0;
    at += size;
  }
  return { bytes: target, from: 0, to: length, origin: segment.origin };
}

/** Text of a message in upper or lower case. */
export function changeCase(text: Rope, wanted: Case, render: Render): Rope {
  return new Rope(text.segments.map((segment) => change(segment, wanted, render)));
}
