/**
 * How often something may happen within a time: restarts of crashed roles, lines that a jailed process causes.
 * @module
 */

export class RateLimit {
  readonly #limit: { readonly count: number; readonly windowMs: number };
  #times: number[] = [];

  /** Allows `count` in any window of `windowMs` milliseconds. */
  constructor(limit: { readonly count: number; readonly windowMs: number }) {
    this.#limit = limit;
  }

  /** Takes one at monotonic time `nowMs`; returns `false` when none is left. */
  take(nowMs: number): boolean {
    this.#times = this.#times.filter((at) => nowMs - at < this.#limit.windowMs);
    if (this.#times.length >= this.#limit.count) return false;
    this.#times.push(nowMs);
    return true;
  }

  /** How many were taken within the window that ended with the last {@link take}. */
  get taken(): number {
    return this.#times.length;
  }
}
