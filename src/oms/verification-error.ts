/**
 * What went wrong while verifying: coded errors of layer 3 or 4, with every differing file by its class.
 *
 * Promise: bad evidence (`*_SIGNATURE_INVALID`, `*_FILES_DIFFER`) and good evidence by somebody who is not trusted
 *          (`*_SIGNER_UNTRUSTED`) are different codes. Names of files are printed with control characters escaped.
 * @module
 */
import { KwyreError } from '../base/errors.ts';

/** How one file differs from what was signed. */
export type DifferenceKind = 'changed' | 'missing' | 'extra' | 'mode' | 'kind' | 'name';

/** One file that differs; `expected` and `found` are digests, sizes or words. */
export type Difference = {
  readonly kind: DifferenceKind;
  readonly name: string;
  readonly expected?: string;
  readonly found?: string;
};

/** Makes the coded errors of one layer; the remedy says what the reader of that layer can do. */
export type Fault = (noun: string, message: string, remedy?: string) => KwyreError;

/** Faults of a layer with a remedy for all of them. */
export function faultsOf(layer: 3 | 4, remedy: string): Fault {
  return (noun, message, other) => new KwyreError(`L${layer}_${noun}`, message, other ?? remedy);
}

/** Files differ: the error carries all of them, the message names the first ones. */
export class DifferenceError extends KwyreError {
  readonly differences: readonly Difference[];

  constructor(layer: 3 | 4, what: string, differences: readonly Difference[], remedy: string) {
    super(`L${layer}_FILES_DIFFER`, describe(what, differences), remedy);
    this.differences = differences;
  }
}

const shownDifferences = 12;

const words: Readonly<Record<DifferenceKind, string>> = {
  changed: 'changed',
  missing: 'missing',
  extra: 'not in the manifest',
  mode: 'unsafe rights',
  kind: 'not a regular file that may be read',
  name: 'unsafe name',
};

function describe(what: string, differences: readonly Difference[]): string {
  const lines = differences.slice(0, shownDifferences).map((entry) => {
    const detail =
      entry.expected === undefined
        ? (entry.found ?? '')
        : `expected ${entry.expected}, found ${entry.found ?? 'nothing'}`;
    return `\n  ${words[entry.kind]}: ${entry.name}${detail === '' ? '' : ` (${detail})`}`;
  });
  const more = differences.length > shownDifferences ? `\n  and ${differences.length - shownDifferences} more` : '';
  return `${what} is not what was approved:${lines.join('')}${more}`;
}

/** A name for people: control characters, invisible and bidirectional ones, and bytes outside UTF-8 become escapes. */
export function printable(name: string | Buffer): string {
  const text = typeof name === 'string' ? name : name.toString('latin1');
  const unsafe = typeof name === 'string' ? /[\p{C}\p{Zl}\p{Zp}\\]/gu : /[^\x20-\x7e]|\\/g;
  return text.replace(unsafe, (char) => (char === '\\' ? '\\\\' : `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`));
}
