/**
 * The supervisor's word, once a second, without which a role ends: somebody who stops the supervisor (a debugger,
 * SIGSTOP) stops the one who acts, and must not keep the conversations with that.
 *
 * Time that went by without us, too, is no silence of the supervisor's: the clock stands still with a suspended machine,
 * and a role that was itself held up hears what waits for it first.
 *
 * Proof: test/unit/wire/lifeline.test.ts, test/attacks/6-serve.test.ts
 * @module
 */

/** Between two words of the supervisor. */
export const wordMs = 1000;
/** The most time without one. */
export const silenceMs = 5000;
/** A look that comes later than this was held up itself. */
const heldUpMs = 2 * wordMs;

/** What a role ends with when the supervisor is silent. */
export const lifelineExit = 71;

/** What the lifeline needs of the world. */
export type LifelinePowers = { readonly now: () => number; readonly onLost: () => void };

export class Lifeline {
  readonly #powers: LifelinePowers;
  #timer: NodeJS.Timeout | undefined;
  #heard = 0;
  #looked = 0;

  constructor(powers: LifelinePowers) {
    this.#powers = powers;
  }

  /** The supervisor spoke; from the first word on there must be more. */
  hear(): void {
    this.#heard = this.#powers.now();
    if (this.#timer !== undefined) return;
    this.#looked = this.#heard;
    this.#timer = setInterval(() => {
      this.look();
    }, wordMs);
  }

  /** Once a second: has it been silent for too long? */
  look(): void {
    const now = this.#powers.now();
    if (now - this.#looked > heldUpMs) this.#heard = now;
    this.#looked = now;
    if (now - this.#heard <= silenceMs) return;
    clearInterval(this.#timer);
    this.#powers.onLost();
  }

  /** Looks no more. */
  stop(): void {
    clearInterval(this.#timer);
  }
}
