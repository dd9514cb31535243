/**
 * How many tokens of prompts go into a step, so that it stays short: learnt from the steps before.
 * @module
 */

/** Milliseconds that a step may take beside running answers, whose readers wait for it. */
const sharedMs = 100;
/** Milliseconds that a step may take when only prompts wait. */
const aloneMs = 1000;
const smallest = 16;
/** Steps of fewer tokens say little about prompts: the weights, not the tokens, cost the time. */
const telling = 16;

export class Pace {
  /** Milliseconds per token of a prompt, or 0 before the first one. */
  #msPerToken = 0;

  /** Takes note of a step. */
  observe(tokens: number, ms: number): void {
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
}
