/**
 * Whether the whole machine paused or one process was stopped. If all processes are late by the same time, the machine
 * paused; a process that is late alone was stopped. Pure.
 *
 * Promise: in either case running turns are cut, and new requests are refused until a scan that began later is clean.
 * Proof:   test/unit/layers/6-pause-verdict.test.ts, test/attacks/6-pause.test.ts
 * @module
 */

/** How much shorter the lateness of the others may be than that of the supervisor. */
const toleranceMs = 1500;
/** How long the reports of the others are waited for. */
const patienceMs = 3000;

/** What a pause was, or `waiting` while that is unknown. */
type PauseVerdict = 'waiting' | 'pause' | 'alone';

/** One time in which the supervisor did not run. */
export class Pause {
  readonly lateMs: number;
  /** When the supervisor continued. */
  readonly at: number;
  readonly #others: readonly string[];
  #settled: PauseVerdict = 'waiting';

  /** @param others - processes that must be late as well if the machine paused */
  constructor(lateMs: number, at: number, others: readonly string[], suspended: boolean) {
    this.lateMs = lateMs;
    this.at = at;
    this.#others = others;
    if (suspended) this.#settled = 'pause';
  }

  /**
   * Returns what it was, by what the others reported so far. @param late - by process: how late it was, and when it
   * reported that
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
