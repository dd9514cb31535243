/**
 * Rate limit on wrong tokens. It slows down guessing, but never a request with a valid token.
 *
 * A token bucket: each wrong token costs one point, and points are restored over time. With no points left, the
 * response is 429 with a `Retry-After` that doubles each time. The gateway compares the token first, so a valid token
 * always passes, and an attacker cannot lock out a client.
 * Limits: every client has the same address, so all of them share one bucket.
 * Proof:  test/unit/layers/1-failed-logins.test.ts, test/attacks/1-tokens.test.ts
 * @module
 */

/** Points in the bucket, milliseconds until one is restored, and the longest `Retry-After` in seconds. @internal */
export const failedLoginLimits = { burst: 10, refillMs: 6_000, maxWaitSeconds: 300 } as const;

export class FailedLogins {
  #points: number = failedLoginLimits.burst;
  #at: number;
  #overrun = 0;
  /** Number of wrong tokens since the server started. */
  failures = 0;

  constructor(nowMs: number) {
    this.#at = nowMs;
  }

  /**
   * Counts a wrong token.
   * @param nowMs - monotonic time in milliseconds
   * @returns seconds for `Retry-After`; 0 if there is no wait
   */
  fail(nowMs: number): number {
    this.failures += 1;
    const earned = Math.max(0, nowMs - this.#at) / failedLoginLimits.refillMs;
    this.#at = nowMs;
    this.#points = Math.min(failedLoginLimits.burst, this.#points + earned);
    if (this.#points >= 1) {
      this.#points -= 1;
      // After a quiet period, waits start short again.
      if (this.#points >= failedLoginLimits.burst / 2) this.#overrun = 0;
      return 0;
    }
    this.#overrun += 1;
    return Math.min(failedLoginLimits.maxWaitSeconds, 2 ** Math.min(this.#overrun - 1, 16));
  }
}
