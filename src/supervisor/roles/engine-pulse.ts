/**
 * Checks, by the supervisor's clock, that the engine still ends its idle conversations.
 *
 * The engine ends them on its compute thread. It is pinged every second, and each answer also states how long it is
 * until the next conversation is due to end. If that time has passed and the engine has stopped answering, its thread
 * is stuck, and the engine is killed with its conversations.
 *
 * Promise: a conversation of a stuck engine ends at most `maxUnanswered` pings after it was due. An engine cannot
 *          postpone that beyond `longestMs` after its last answer.
 * Limits:  pings are counted, not milliseconds, so that a pause of the whole machine counts as one missed ping and does
 *          not get the engine killed. An engine that answers but keeps its conversations is hostile; layer 2 limits
 *          what it can do.
 * Proof:   test/unit/supervisor/engine-pulse.test.ts, test/attacks/5-ends.test.ts
 * @module
 */
import type { EnginePong as Answer } from '../../wire/control-payloads.ts';

/** Number of unanswered pings, once a conversation is due, after which the engine is considered stuck. @internal */
export const maxUnanswered = 5;

export class EnginePulse {
  readonly #longestMs: number;
  readonly #now: () => number;
  #due: number | undefined;
  #unanswered = 0;

  /**
   * @param longestMs - the longest time that a conversation may be kept without use
   * @param now - monotonic milliseconds
   */
  constructor(longestMs: number, now: () => number) {
    this.#longestMs = longestMs;
    this.#now = now;
  }

  /** Records an answer from the engine. */
  answered({ dueMs }: Answer): void {
    this.#unanswered = 0;
    this.#due = this.#now() + Math.min(dueMs ?? this.#longestMs, this.#longestMs);
  }

  /** Counts a ping; returns `true` if the engine is stuck and has to be killed. */
  ping(): boolean {
    if (this.#due === undefined || this.#now() < this.#due) {
      this.#unanswered = 0;
      return false;
    }
    this.#unanswered += 1;
    return this.#unanswered > maxUnanswered;
  }
}
