/**
 * Whether a machine paused, or somebody stopped one of us: all of us late by as much are one pause, which nobody need
 * have made; one who was late alone was stopped. Pure.
 *
 * Promise: whatever it was, running turns are cut and nothing is taken until a scan that began afterwards is clean.
 * Proof:   test/unit/layers/6-pause-verdict.test.ts, test/attacks/6-pause.test.ts
 * @module
 */

/** How much earlier than the supervisor the others may have noticed, and how long their words may take. */
const toleranceMs = 1500;
/** How long the words of the others are waited for. */
const patienceMs = 3000;

/** What came of a pause. */
export type PauseVerdict = 'waiting' | 'pause' | 'alone';

/** One time in which the supervisor stood still. */
export class Pause {
  readonly lateMs: number;
  /** When the supervisor went on. */
  readonly at: number;
  readonly #others: readonly string[];
  #settled: PauseVerdict = 'waiting';

  /** @param others - who must have been late as well. */
  constructor(lateMs: number, at: number, others: readonly string[], suspended: boolean) {
    this.lateMs = lateMs;
    this.at = at;
    this.#others = others;
    if (suspended) this.#settled = 'pause';
  }

  /**
   * What it was, by what the others have said so far. @param late - by who they are: how late, and when they said so.
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
