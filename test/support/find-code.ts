/**
 * Finds a piece of code in a source, however it is laid out: white space and trailing commas do not count.
 * @module
 */

import { readFileSync, writeFileSync } from 'node:fs';

/** A source without what a formatter decides, and where each character of it stands in the source. */
function compact(source: string): { readonly text: string; readonly at: readonly number[] } {
  let text = '';
  const at: number[] = [];
  for (let i = 0; i < source.length; i += 1) {
    const character = source[i]!;
    if (/\s/.test(character)) continue;
    if (/[)\]}]/.test(character) && text.endsWith(',')) {
      text = text.slice(0, -1);
      at.pop();
    }
    text += character;
    at.push(i);
  }
  return { text, at };
}

/**
 * @param code - what must stand in `source` exactly once
 * @param where - the file, for the error
 * @returns where it stands and how long it is, in characters
 */
export function findCode(
  source: string,
  code: string,
  where: string,
): { readonly at: number; readonly length: number } {
  const whole = compact(source);
  // A comma at the end may be one that the formatter dropped.
  const part = compact(code).text.replace(/,$/, '');
  const first = whole.text.indexOf(part);
  const times = whole.text.split(part).length - 1;
  if (times !== 1) throw new Error(`${where} says ${times} times and not once: ${code}`);
  const at = whole.at[first]!;
  let end = whole.at[first + part.length - 1]! + 1;
  if (code.trimEnd().endsWith(',')) end += /^\s*,/.exec(source.slice(end))?.[0].length ?? 0;
  return { at, length: end - at };
}

/** `source` with `instead` in the place of the one piece of code. */
export function replaceCode(source: string, code: string, instead: string, where: string): string {
  const { at, length } = findCode(source, code, where);
  return source.slice(0, at) + instead + source.slice(at + length);
}

/** Writes `instead` in the place of the one piece of code in a file; returns the text from before. */
export function editCode(path: string, code: string, instead: string): string {
  const before = readFileSync(path, 'utf8');
  writeFileSync(path, replaceCode(before, code, instead, path));
  return before;
}

/** Writes `instead` in the place of every match of `pattern` in a file; throws unless there are `times`. */
export function editMatches(path: string, pattern: RegExp, instead: string, times = 1): void {
  const before = readFileSync(path, 'utf8');
  const found = [...before.matchAll(new RegExp(pattern, 'gm'))].length;
  if (found !== times) throw new Error(`${path} says ${found} times and not ${times}: ${String(pattern)}`);
  writeFileSync(path, before.replace(new RegExp(pattern, 'gm'), instead));
}
