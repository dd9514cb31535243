/**
 * How often something may happen in a stretch of time: restarts of a crashed pair, lines that a jailed process causes.
 * @module
 */

/** At most three restarts in an hour: a crash loop is a fault to look at, or an attack. */
export const restartLimit = { count: 3, windowMs: 3_600_000 } as const;

/** So many in any window of that length. */
export class Allowance {
  readonly #limit: { readonly count: number; readonly windowMs: number };
  #times: number[] = [];

  constructor(limit: { readonly count: number; readonly windowMs: number }) {
    this.#limit = limit;
  }

  /** Takes one at monotonic time `nowMs`; `false` when none is left. */
  take(nowMs: number): boolean {
    this.#times = this.#times.filter((at) => nowMs - at < this.#limit.windowMs);
    if (this.#times.length >= this.#limit.count) return false;
    this.#times.push(nowMs);
    return true;
  }

  /** Taken within the window. */
  get taken(): number {
    return this.#times.length;
  }
}

export class RestartBudget extends Allowance {
  constructor() {
    super(restartLimit);
  }
}
