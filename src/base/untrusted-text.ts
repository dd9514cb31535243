/**
 * Text of somebody else's on its way to people: a terminal, a log, a status.
 *
 * Promise: one line of bounded length without control, format, direction-changing, private or unassigned characters:
 *          what a jailed process, a file or a stranger chose can be read there, and can do nothing.
 * Proof:   test/unit/base/untrusted-text.test.ts
 * @module
 */
import { format } from 'node:util';

/**
 * The text in one line of at most `most` UTF-16 units; a blank for white space, `?` for anything else that is not
 * shown.
 */
export function printable(text: string, most: number): string {
  return text
    .slice(0, most)
    .replace(/\s/gu, ' ')
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?');
}

/**
 * Text with everything that is not shown written out as `\\uXXXX`: harmless on a terminal, and the same value in JSON.
 */
export function visible(text: string): string {
  return text.replace(/[^\P{C}\n\t]|[\u2028\u2029]/gu, (character) =>
    Array.from(
      { length: character.length },
      (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/**
 * Makes a process print nothing that could steer a terminal, whoever chose the text: paths, names in files, names of
 * programs.
 */
export function guardConsole(target: {
  log: (...parts: unknown[]) => void;
  error: (...parts: unknown[]) => void;
}): void {
  for (const way of ['log', 'error'] as const) {
    const print = target[way].bind(target);
    target[way] = (...parts) => {
      print('%s', visible(format(...parts)));
    };
  }
}
