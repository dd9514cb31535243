/**
 * Errors with a stable code, the layer that the code belongs to, and a next step.
 *
 * Promise: a message consists of constants, numbers and file names, and never contains request text.
 * @module
 */

/** A layer's number, which is the same in folders, error codes, exit codes and the status. */
export type Layer = 1 | 2 | 3 | 4 | 5 | 6;

/** An expected failure, such as `L4_DIGEST_MISMATCH` or `WIRE_FRAME_LENGTH`. */
export class KwyreError extends Error {
  override readonly name = 'KwyreError';
  /** Stable code in upper case. A prefix `L<n>_` names the layer. */
  readonly code: string;
  /** The next step; empty if there is none. */
  readonly remedy: string;

  constructor(code: string, message: string, remedy = '') {
    super(message);
    this.code = code;
    this.remedy = remedy;
  }

  /** The layer named by the code, or `undefined`. */
  get layer(): Layer | undefined {
    const match = /^L([1-6])_/.exec(this.code);
    return match ? (Number(match[1]) as Layer) : undefined;
  }

  /** The process's exit code: 10+N for layer N, 2 for usage, 1 for anything else. */
  get exitCode(): number {
    if (this.layer !== undefined) return 10 + this.layer;
    return this.code.startsWith('USAGE_') ? 2 : 1;
  }
}

/** Throws an error for a bug in Kwyre. No code may catch it and continue. */
export function bug(message: string, cause?: unknown): never {
  throw new Error(`BUG(kwyre): ${message}`, cause === undefined ? undefined : { cause });
}

/** Used as the default case of a `switch` over a union, so that a missing case does not compile. */
export function exhaustive(value: never): never {
  return bug(`unhandled case ${typeof value}`);
}
