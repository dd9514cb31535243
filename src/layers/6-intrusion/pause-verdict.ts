/**
 * Decides whether the whole machine paused or one process was stopped. If all processes are late by the same amount,
 * the machine paused; if only one is late, it was stopped. Pure functions.
 *
 * Promise: in either case running turns are aborted, and new requests are refused until a scan that began later is
 *          clean.
 * Proof:   test/unit/layers/6-pause-verdict.test.ts, test/attacks/6-pause.test.ts
 * @module
 */

/** The other processes may be late by up to this many milliseconds less than the supervisor. */
const toleranceMs = 1500;
/** How long to wait for the other processes' reports, in milliseconds. */
const patienceMs = 3000;

/** The cause of a pause, or `waiting` while it is unknown. */
type PauseVerdict = 'waiting' | 'pause' | 'alone';

/** One period in which the supervisor did not run. */
export class Pause {
  readonly lateMs: number;
  /** The time when the supervisor continued. */
  readonly at: number;
  readonly #others: readonly string[];
  #settled: PauseVerdict = 'waiting';

  /** @param others - processes that must also be late if the machine paused */
  constructor(lateMs: number, at: number, others: readonly string[], suspended: boolean) {
    this.lateMs = lateMs;
    this.at = at;
    this.#others = others;
    if (suspended) this.#settled = 'pause';
  }

  /**
   * Returns the cause, according to the reports so far. @param late - by process: how late it was, and when it reported
   * that
   */
  verdict(late: ReadonlyMap<string, { readonly ms: number; readonly at: number }>, now: number): PauseVerdict {
    if (this.#settled !== 'waiting') return this.#settled;
    const agreed = this.#others.every((other) => {
      const said = late.get(other);
      return said !== undefined && Math.abs(said.at - this.at) <= patienceMs && said.ms >= this.lateMs - toleranceMs;
    });
    if (agreed) this.#settled = 'pause';
    else if (now - this.at > patienceMs) this.#settled = 'alone';
    return this.#settled;
  }
}
