/**
 * Limits how often something may happen within a period, such as restarts of crashed roles, or log lines that a jailed
 * process causes.
 * @module
 */

export class RateLimit {
  readonly #limit: { readonly count: number; readonly windowMs: number };
  #times: number[] = [];

  /** Allows `count` in any window of `windowMs` milliseconds. */
  constructor(limit: { readonly count: number; readonly windowMs: number }) {
    this.#limit = limit;
  }

  /** Counts an event at the monotonic time `nowMs`; returns `false` without counting it if the limit is reached. */
  take(nowMs: number): boolean {
    this.#times = this.#times.filter((at) => nowMs - at < this.#limit.windowMs);
    if (this.#times.length >= this.#limit.count) return false;
    this.#times.push(nowMs);
    return true;
  }

  /** Number of events in the window that ended with the last {@link take}. */
  get taken(): number {
    return this.#times.length;
  }
}
