/**
 * How often a crashed pair may be started again.
 * @module
 */

/** At most three restarts in an hour: a crash loop is a fault to look at, or an attack. */
export const restartLimit = { count: 3, windowMs: 3_600_000 } as const;

export class RestartBudget {
  #times: number[] = [];

  /** Takes one restart at monotonic time `nowMs`; `false` when the budget is spent. */
  take(nowMs: number): boolean {
    this.#times = this.#times.filter((at) => nowMs - at < restartLimit.windowMs);
    if (this.#times.length >= restartLimit.count) return false;
    this.#times.push(nowMs);
    return true;
  }

  /** Restarts taken within the window. */
  get taken(): number {
    return this.#times.length;
  }
}
