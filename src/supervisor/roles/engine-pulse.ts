/**
 * Whether the engine still ends its idle conversations, by the supervisor's clock.
 *
 * The engine ends them on the thread that computes. With each answer to the ping of every second it also says how long
 * it is until the next conversation is due. If that time has passed and the engine has stopped answering, its thread is
 * stuck, and it is killed with its conversations.
 *
 * Promise: a conversation of a stuck engine ends at most `maxUnanswered` pings after it was due; an engine cannot put
 *          that off beyond `longestMs` after its last answer.
 * Limits:  pings are counted, not milliseconds: if the whole machine pauses, one ping is lost, not the engine. An
 *          engine that answers and keeps its conversations is a hostile one; layer 2 limits what it can do.
 * Proof:   test/unit/supervisor/engine-pulse.test.ts, test/attacks/5-ends.test.ts
 * @module
 */
import type { EnginePong as Answer } from '../../wire/control-payloads.ts';

/** Pings without an answer once a conversation is due. @internal */
export const maxUnanswered = 5;

export class EnginePulse {
  readonly #longestMs: number;
  readonly #now: () => number;
  #due: number | undefined;
  #unanswered = 0;

  /**
   * @param longestMs - the longest that a conversation may last without use
   * @param now - monotonic milliseconds
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

  /** Counts another ping; returns `true` if the engine is stuck and has to be killed. */
  ping(): boolean {
    if (this.#due === undefined || this.#now() < this.#due) {
      this.#unanswered = 0;
      return false;
    }
    this.#unanswered += 1;
    return this.#unanswered > maxUnanswered;
  }
}
