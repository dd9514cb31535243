/**
 * How long steps take, learnt from those before: how many tokens of prompts go into one, so that it stays short, and
 * whether one is so short that no other thread need be woken for it.
 * @module
 */

/** Milliseconds that a step may take beside running answers, whose readers wait for it. */
const sharedMs = 100;
/** Milliseconds that a step may take when only prompts wait. */
const aloneMs = 1000;
const smallest = 16;
/** Steps of fewer tokens say little about prompts: the weights, not the tokens, cost the time. */
const telling = 16;
/** Milliseconds for which nobody notices that no request and no order is read. */
const briefMs = 60;

export class StepTiming {
  /** Milliseconds per token of a prompt, or 0 before the first one. */
  #msPerToken = 0;

  /** Milliseconds per token of the last step of answers alone, or 0 before the first one. */
  #msPerAnswer = 0;

  /** Takes note of a step, of which `answers` tokens belong to running answers. */
  observe(tokens: number, answers: number, ms: number): void {
    if (answers === tokens) this.#msPerAnswer = ms / answers;
    if (tokens < telling || ms <= 0) return;
    const seen = ms / tokens;
    this.#msPerToken = this.#msPerToken === 0 ? seen : 0.7 * this.#msPerToken + 0.3 * seen;
  }

  /** The most tokens of prompts for the next step beside `answers` running ones. */
  promptTokens(answers: number): number {
    if (this.#msPerToken === 0) return answers > 0 ? 64 : 128;
    const wanted = Math.floor((answers > 0 ? sharedMs : aloneMs) / this.#msPerToken);
    return Math.max(smallest, wanted - (wanted % smallest));
  }

  /** Whether a step is short. One with a piece of a prompt never is: it may have to be broken off. */
  isBrief(tokens: number, answers: number): boolean {
    return answers === tokens && this.#msPerAnswer > 0 && this.#msPerAnswer * answers < briefMs;
  }
}
