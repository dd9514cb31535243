/**
 * Sanitises untrusted text for a terminal, a log or a status.
 *
 * Promise: the result has no control, format, bidirectional, private-use or unassigned characters, so text chosen by a
 *          jailed process, a file or a client can be read but cannot control a terminal.
 * Proof:   test/unit/base/untrusted-text.test.ts
 * @module
 */
import { format } from 'node:util';

/**
 * Returns the text as one line. White space is replaced by a space, and any other unprintable character by `?`.
 * @param maxLength - in UTF-16 code units; longer text is truncated
 */
export function printable(text: string, maxLength: number): string {
  return text
    .slice(0, maxLength)
    .replace(/\s/gu, ' ')
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?');
}

/**
 * Escapes unprintable characters as `\\uXXXX`. The escapes are harmless on a terminal and equivalent in JSON. @internal
 */
export function visible(text: string): string {
  return text.replace(/[^\P{C}\n\t]|[\u2028\u2029]/gu, (character) =>
    Array.from(
      { length: character.length },
      (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** Wraps `log` and `error` so that no text they print, such as a path or a program's name, can control a terminal. */
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
