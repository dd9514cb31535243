/**
 * Wrong tokens, counted: guessing gets slower, the owner never does.
 *
 * A guess costs a point, points come back with time; without points a wrong token is answered 429 with a wait that
 * doubles. The token itself is compared first, so the right one passes at any time: nobody can lock the owner out.
 * Limits: every client has the same address, so strangers share one account of points.
 * Proof:  test/unit/layers/1-failed-logins.test.ts, test/attacks/1-tokens.test.ts
 * @module
 */

/** Wrong tokens that are answered at once, the time until one comes back, and the longest wait asked for. */
export const failedLoginLimits = { burst: 10, refillMs: 6_000, maxWaitSeconds: 300 } as const;

export class FailedLogins {
  #points: number = failedLoginLimits.burst;
  #at: number;
  #overrun = 0;
  /** Wrong tokens since the start. */
  failures = 0;

  constructor(nowMs: number) {
    this.#at = nowMs;
  }

  /** Books a wrong token at monotonic time `nowMs`: 0, or the seconds to wait that the answer should ask for. */
  fail(nowMs: number): number {
    this.failures += 1;
    const earned = Math.max(0, nowMs - this.#at) / failedLoginLimits.refillMs;
    this.#at = nowMs;
    this.#points = Math.min(failedLoginLimits.burst, this.#points + earned);
    if (this.#points >= 1) {
      this.#points -= 1;
      // A calm while later the wait begins small again.
      if (this.#points >= failedLoginLimits.burst / 2) this.#overrun = 0;
      return 0;
    }
    this.#overrun += 1;
    return Math.min(failedLoginLimits.maxWaitSeconds, 2 ** Math.min(this.#overrun - 1, 16));
  }
}
