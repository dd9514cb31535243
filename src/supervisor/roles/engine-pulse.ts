/**
 * Whether the engine still ends its idle conversations, by the supervisor's clock.
 *
 * The engine's reaper runs on the thread that computes. So the engine says, with every answer to the word that it gets
 * once a second, how long it is until the next of its conversations is due; when that time has passed and the engine
 * has not answered any more, it stands still, and its conversations end with it.
 *
 * Promise: a conversation of an engine that stands still ends at the latest `patience` words after it was due; what an
 *          engine says cannot put that off beyond `longestMs` after its last answer.
 * Limits:  words are counted, not milliseconds: a machine that pauses as a whole costs one word, not the engine. An
 *          engine that answers and keeps its conversations all the same is a hostile one; what it can do is layer 2's
 *          business.
 * Proof:   test/unit/supervisor/engine-pulse.test.ts, test/attacks/5-ends.test.ts
 * @module
 */
import type { EnginePong as Answer } from '../../wire/control-payloads.ts';

/** Words without an answer, once a conversation is due. @internal */
export const maxUnanswered = 5;

export class EnginePulse {
  readonly #longestMs: number;
  readonly #now: () => number;
  #due: number | undefined;
  #unanswered = 0;

  /**
   * @param longestMs - the longest that a conversation may last without a sign of its user; @param now - milliseconds,
   * never backwards.
   */
  constructor(longestMs: number, now: () => number) {
    this.#longestMs = longestMs;
    this.#now = now;
  }

  /** The engine answered. */
  answered({ dueMs }: Answer): void {
    this.#unanswered = 0;
    this.#due = this.#now() + Math.min(dueMs ?? this.#longestMs, this.#longestMs);
  }

  /** The engine is spoken to again; `true` when it stands still and has to end. */
  ping(): boolean {
    if (this.#due === undefined || this.#now() < this.#due) {
      this.#unanswered = 0;
      return false;
    }
    this.#unanswered += 1;
    return this.#unanswered > maxUnanswered;
  }
}
