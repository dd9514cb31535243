/**
 * The supervisor's word, once a second, without which a role ends: somebody who stops the supervisor (a debugger,
 * SIGSTOP) stops the one who acts, and must not keep the conversations with that.
 *
 * A word counts from when it was said, by a clock that all our processes share: one that waited in the channel while
 * the role itself stood still gives it no time. Nor does standing still: a role that comes back and finds no fresh word
 * cuts its running turns at once, takes nothing more, and ends unless the supervisor speaks. So a machine that paused
 * as a whole (a frozen control group, a virtual machine) goes on without its running turns, and whoever stops the roles
 * by turns has nothing to look at. The clock stands still with a suspended machine.
 *
 * Proof: test/unit/wire/lifeline.test.ts, test/attacks/6-serve.test.ts, test/attacks/6-pause.test.ts
 * @module
 */

/** Between two words of the supervisor. */
export const wordMs = 1000;
/** The most time without one. */
export const silenceMs = 5000;
/** A look that comes later than this was held up itself, and the supervisor is told. */
const heldUpMs = 1000;

/** What a role ends with when the supervisor is silent. */
export const lifelineExit = 71;

/** What the lifeline needs of the world. */
export type LifelinePowers = {
  /** CLOCK_MONOTONIC in milliseconds. */
  readonly now: () => number;
  /** Calls back when what waits in the channels has been read. */
  readonly afterReading: (then: () => void) => void;
  /** This role stood still; for how long, and whether it cut its turns for that. */
  readonly onLate: (lateMs: number, cut: boolean) => void;
  /** Cuts every running turn and takes nothing more. */
  readonly onPaused: () => void;
  readonly onLost: () => void;
};

export class Lifeline {
  readonly #powers: LifelinePowers;
  #timer: NodeJS.Timeout | undefined;
  /** When the last word was said. */
  #said = 0;
  #looked = 0;
  /** Until when a role that stood still waits for a word; there is no other wait after it without one. */
  #graceEnds: number | undefined;
  #over = false;

  constructor(powers: LifelinePowers) {
    this.#powers = powers;
  }

  /** The supervisor spoke, at this time; from the first word on there must be more. */
  hear(saidAt: number): void {
    const now = this.#powers.now();
    this.#said = Math.max(this.#said, Math.min(saidAt, now));
    if (now - this.#said <= silenceMs) this.#graceEnds = undefined;
    if (this.#timer !== undefined) return;
    this.#looked = now;
    this.#timer = setInterval(() => {
      this.look();
    }, wordMs);
  }

  /** Once a second: has it been silent for too long? */
  look(): void {
    const now = this.#powers.now();
    const lateMs = now - this.#looked - wordMs;
    this.#looked = now;
    if (lateMs <= heldUpMs) {
      this.#judge(now);
      return;
    }
    // What was said meanwhile is read first.
    this.#powers.afterReading(() => {
      const cut = !this.#over && this.#graceEnds === undefined && this.#silent(this.#powers.now());
      if (cut) {
        this.#graceEnds = this.#powers.now() + silenceMs;
        this.#powers.onPaused();
      } else {
        this.#judge(this.#powers.now());
      }
      if (!this.#over) this.#powers.onLate(lateMs, cut);
    });
  }

  /** Looks no more. */
  stop(): void {
    this.#over = true;
    clearInterval(this.#timer);
  }

  #silent(now: number): boolean {
    return now - this.#said > silenceMs;
  }

  #judge(now: number): void {
    if (this.#over || !this.#silent(now) || (this.#graceEnds !== undefined && now <= this.#graceEnds)) return;
    this.stop();
    this.#powers.onLost();
  }
}
