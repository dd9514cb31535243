/**
 * Upper and lower case: of plain text as JavaScript and Python do it alike, of text of messages over bytes by a table
 * made once from the code points themselves.
 *
 * Promise: the letters of a message are looked up as numbers; the changed bytes are new ones that the caller
 *          overwrites.
 * Limits:  in messages code point by code point: the Greek final sigma is not told apart by its place in a word.
 * Proof:   test/unit/template/rope.test.ts
 * @module
 */
import { plaintextBytes } from '../../base/bytes.ts';
import { requirePlain } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import type { Segment, Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import { codePoint } from './string-ops.ts';
import type { Render } from '../runtime/value.ts';

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
  // No letter grows more than threefold.
  render.budget.each(source.length * 4);
  const table = tableOf(wanted);
  const first = wanted === 'upper' ? 0x61 : 0x41;
  render.budget.hold(4);
  const target = plaintextBytes(source.length * 3);
  render.own(target);
  let length = 0;
  for (let at = 0; at < source.length;) {
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

/** A text in upper or lower case. */
export function changeCase(text: Str, wanted: Case, render: Render): Str {
  if (typeof text !== 'string') return new Rope(text.segments.map((segment) => change(segment, wanted, render)));
  render.budget.each(text.length * 2);
  return wanted === 'upper' ? text.toUpperCase() : text.toLowerCase();
}

/** Letters whose form at the beginning of a word is neither their upper nor their lower case. */
const titleLetters =
  /[\u01c4-\u01cc\u01f1-\u01f3\u1f80-\u1fff\ufb00-\ufb17\u00df\u0149\u0390\u03b0\u0587\u1e96-\u1e9a\u10d0-\u10ff]/;

/** A word with its first letter in upper case and the others in lower case. */
function capital(word: string): string {
  const [first = ''] = word;
  if (titleLetters.test(first)) throw unsupported('capitalizes a word that begins with an unusual letter');
  return first.toUpperCase() + word.slice(first.length).toLowerCase();
}

/** Python's `capitalize`. */
export function capitalize(text: Str, render: Render): string {
  render.budget.each(text.length * 2);
  return capital(requirePlain(text, 'capitalizes'));
}

/** Python's `title`, where every run of letters is a word. */
export function title(text: Str, render: Render): string {
  render.budget.each(text.length * 2);
  return requirePlain(text, 'capitalizes').replace(/\p{Cased}+/gu, capital);
}

/** Jinja's filter `title`, where words stand between white space, hyphens and opening brackets. */
export function titleWords(text: Str, render: Render): string {
  render.budget.each(text.length * 2);
  return requirePlain(text, 'capitalizes')
    .split(/([-({[<\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+)/)
    .map((word) => (word === '' ? '' : capital(word)))
    .join('');
}

/** Python's `islower` and `isupper`: there are letters with a case, and all of them have this one. */
export function hasCase(text: Str, wanted: Case, render: Render): boolean {
  const { budget } = render;
  budget.each(text.length);
  if (typeof text === 'string')
    return wanted === 'lower'
      ? /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text)
      : /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);
  return text.look(budget, (bytes) => {
    let has = false;
    let other = false;
    for (const byte of bytes) {
      if (byte >= 0x80) throw unsupported('asks for the case of text of a message that is not ASCII');
      const lower = byte >= 0x61 && byte <= 0x7a;
      if (!lower && !(byte >= 0x41 && byte <= 0x5a)) continue;
      if (lower === (wanted === 'lower')) has = true;
      else other = true;
    }
    return has && !other;
  });
}
