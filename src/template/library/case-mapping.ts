/**
 * Upper and lower case. Plain text is mapped by JavaScript, which agrees with Python. Message text is mapped as bytes,
 * with a table that is built once.
 *
 * Promise: no character of a message becomes a string. The render overwrites the mapped bytes when it ends.
 * Limits:  message text is mapped code point by code point, without the contextual rule for the Greek final sigma.
 * Proof:   test/unit/template/rope.test.ts
 * @module
 */
import { plaintextBytes } from '../../base/bytes.ts';
import { requireTemplateText } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import type { Segment, Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import { codePoint } from './string-ops.ts';
import type { Render } from '../runtime/value.ts';

type Case = 'upper' | 'lower';

/** Maps each code point above ASCII to its UTF-8 bytes in the other case. */
function buildTable(wanted: Case): ReadonlyMap<number, Buffer> {
  const table = new Map<number, Buffer>();
  for (let code = 0x80; code < 0x1f000; code += 1) {
    if (code >= 0xd800 && code < 0xe000) continue;
    const character = String.fromCodePoint(code);
    const changed = wanted === 'upper' ? character.toUpperCase() : character.toLowerCase();
    if (changed !== character) table.set(code, Buffer.from(changed, 'utf8'));
  }
  return table;
}

const tables = new Map<Case, ReadonlyMap<number, Buffer>>();

function tableOf(wanted: Case): ReadonlyMap<number, Buffer> {
  const table = tables.get(wanted) ?? buildTable(wanted);
  tables.set(wanted, table);
  return table;
}

function mapSegment(segment: Segment, wanted: Case, render: Render): Segment {
  const source = segment.bytes.subarray(segment.from, segment.to);
  // Mapping a character at most triples its length.
  render.budget.walk(source.length * 4);
  const table = tableOf(wanted);
  const first = wanted === 'upper' ? 0x61 : 0x41;
  render.budget.retain(4);
  const target = plaintextBytes(source.length * 3);
  render.wipeLater(target);
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

/** Python's `upper` and `lower`. */
export function changeCase(text: Str, wanted: Case, render: Render): Str {
  if (typeof text !== 'string') return new Rope(text.segments.map((segment) => mapSegment(segment, wanted, render)));
  render.budget.walk(text.length * 2);
  return wanted === 'upper' ? text.toUpperCase() : text.toLowerCase();
}

/** Characters whose title case may differ from their upper case. */
const ambiguousTitleCase =
  /[\u01c4-\u01cc\u01f1-\u01f3\u1f80-\u1fff\ufb00-\ufb17\u00df\u0149\u0390\u03b0\u0587\u1e96-\u1e9a\u10d0-\u10ff]/;

/** Upper-cases the first character of a word and lower-cases the rest. */
function capitalizeWord(word: string): string {
  const [first = ''] = word;
  if (ambiguousTitleCase.test(first)) throw unsupported('capitalizes a word that starts with an unusual character');
  return first.toUpperCase() + word.slice(first.length).toLowerCase();
}

/** Python's `capitalize`. */
export function capitalize(text: Str, render: Render): string {
  render.budget.walk(text.length * 2);
  return capitalizeWord(requireTemplateText(text, 'capitalizes'));
}

/** Python's `title`, in which every run of cased characters is a word. */
export function titleCase(text: Str, render: Render): string {
  render.budget.walk(text.length * 2);
  return requireTemplateText(text, 'capitalizes').replace(/\p{Cased}+/gu, capitalizeWord);
}

/** Jinja's filter `title`, in which whitespace, hyphens and opening brackets separate words. */
export function titleCaseWords(text: Str, render: Render): string {
  render.budget.walk(text.length * 2);
  return requireTemplateText(text, 'capitalizes')
    .split(/([-({[<\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+)/)
    .map((word) => (word === '' ? '' : capitalizeWord(word)))
    .join('');
}

/** Python's `islower` and `isupper`: there is at least one cased character, and all cased characters have this case. */
export function hasCase(text: Str, wanted: Case, render: Render): boolean {
  const { budget } = render;
  budget.walk(text.length);
  if (typeof text === 'string')
    return wanted === 'lower'
      ? /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text)
      : /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);
  return text.withBytes(budget, (bytes) => {
    let has = false;
    let other = false;
    for (const byte of bytes) {
      if (byte >= 0x80) throw unsupported('tests the case of message text that is not ASCII');
      const lower = byte >= 0x61 && byte <= 0x7a;
      if (!lower && !(byte >= 0x41 && byte <= 0x5a)) continue;
      if (lower === (wanted === 'lower')) has = true;
      else other = true;
    }
    return has && !other;
  });
}
