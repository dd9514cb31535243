/**
 * Errors that callers branch on: a stable code, the layer it belongs to, and what to do next.
 *
 * Promise: a message is made of constants, numbers and file names only, never of request text.
 * @module
 */

/** The number of one of the six layers, the same everywhere: folders, codes, exit codes, status. */
export type Layer = 1 | 2 | 3 | 4 | 5 | 6;

/** An expected failure with a stable code (`L4_DIGEST_MISMATCH`, `WIRE_FRAME_LENGTH`) and a remedy. */
export class KwyreError extends Error {
  override readonly name = 'KwyreError';
  /** Stable, upper case; its `L<n>_` prefix names the layer. */
  readonly code: string;
  /** What the reader can do about it; empty when nothing sensible can be done. */
  readonly remedy: string;

  constructor(code: string, message: string, remedy = '') {
    super(message);
    this.code = code;
    this.remedy = remedy;
  }

  /** The layer that the code belongs to, or `undefined` for codes of no layer. */
  get layer(): Layer | undefined {
    const match = /^L([1-6])_/.exec(this.code);
    return match ? (Number(match[1]) as Layer) : undefined;
  }

  /** The process exit code: 10+N when layer N refused, 2 for usage, 1 for anything else. */
  get exitCode(): number {
    if (this.layer !== undefined) return 10 + this.layer;
    return this.code.startsWith('USAGE_') ? 2 : 1;
  }
}

/** Throws an error that says the fault is Kwyre's own; nothing may catch it to continue. */
export function bug(message: string, cause?: unknown): never {
  throw new Error(`BUG(kwyre): ${message}`, cause === undefined ? undefined : { cause });
}

/** Closes a `switch` over a union: a new case fails to compile. */
export function exhaustive(value: never): never {
  return bug(`unhandled case ${typeof value}`);
}
