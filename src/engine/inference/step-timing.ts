/**
 * Predicts the duration of a step from earlier ones: how many prompt tokens fit into a short step, and whether a step
 * is so short that it should stay on the main thread.
 * @module
 */

/** Milliseconds that a step may take if running completions wait for it. */
const sharedMs = 100;
/** Milliseconds that a step may take if only prompts wait. */
const promptsOnlyMs = 1000;
const smallestPiece = 16;
/** Shorter steps are no measure of prompts: reading the weights dominates their time. */
const fewestObservedTokens = 16;
/** Milliseconds for which the main thread may leave requests and control messages unread. */
const briefMs = 60;

export class StepTiming {
  /** Milliseconds per prompt token, smoothed; 0 before the first measurement. */
  #promptTokenMs = 0;
  /** Milliseconds per token of the last step without a prompt; 0 before the first one. */
  #completionTokenMs = 0;

  /** Records a step of `tokens` tokens, of which `completionTokens` belong to running completions. */
  observe(tokens: number, completionTokens: number, ms: number): void {
    if (completionTokens === tokens) this.#completionTokenMs = ms / completionTokens;
    if (tokens < fewestObservedTokens || ms <= 0) return;
    const seen = ms / tokens;
    this.#promptTokenMs = this.#promptTokenMs === 0 ? seen : 0.7 * this.#promptTokenMs + 0.3 * seen;
  }

  /** Returns the most prompt tokens for a step with `completionTokens` running completions. */
  promptTokens(completionTokens: number): number {
    if (this.#promptTokenMs === 0) return completionTokens > 0 ? 64 : 128;
    const wanted = Math.floor((completionTokens > 0 ? sharedMs : promptsOnlyMs) / this.#promptTokenMs);
    return Math.max(smallestPiece, wanted - (wanted % smallestPiece));
  }

  /** Returns whether a step is short. One with prompt tokens never is: it may have to be aborted. */
  isBrief(tokens: number, completionTokens: number): boolean {
    return (
      completionTokens === tokens && this.#completionTokenMs > 0 && this.#completionTokenMs * completionTokens < briefMs
    );
  }
}
