/**
 * Verification errors: coded errors of layers 3 and 4, with every file that differs and how.
 *
 * Promise: invalid evidence (`*_SIGNATURE_INVALID`, `*_FILES_DIFFER`) and valid evidence from an untrusted signer
 *          (`*_SIGNER_UNTRUSTED`) have different codes. Control characters in file names are escaped.
 * @module
 */
import { KwyreError } from '../base/errors.ts';

/** How a file differs from the signed one. */
type DifferenceKind = 'changed' | 'missing' | 'extra' | 'mode' | 'kind' | 'name';

/** A file that differs; `expected` and `found` are digests, sizes or words. */
export type Difference = {
  readonly kind: DifferenceKind;
  readonly name: string;
  readonly expected?: string;
  readonly found?: string;
};

/** Creates an error for one layer, with the layer's remedy unless another one is given. */
export type Fault = (noun: string, message: string, remedy?: string) => KwyreError;

/** Returns a function that creates a layer's errors, with a default remedy. */
export function faultsOf(layer: 3 | 4, remedy: string): Fault {
  return (noun, message, other) => new KwyreError(`L${layer}_${noun}`, message, other ?? remedy);
}

/** Error for files that differ. It holds all differences; its message lists the first ones. */
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
  mode: 'unsafe access rights',
  kind: 'not a readable regular file',
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
  return `${what} differs from what was approved:${lines.join('')}${more}`;
}

/** Returns a name for display: control, invisible and bidirectional characters and invalid UTF-8 are escaped. */
export function printable(name: string | Buffer): string {
  const text = typeof name === 'string' ? name : name.toString('latin1');
  const unsafe = typeof name === 'string' ? /[\p{C}\p{Zl}\p{Zp}\\]/gu : /[^\x20-\x7e]|\\/g;
  return text.replace(unsafe, (char) => (char === '\\' ? '\\\\' : `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`));
}
