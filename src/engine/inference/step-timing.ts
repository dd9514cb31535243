/**
 * Predicts the duration of a step from earlier steps, to determine how many prompt tokens fit into a short step and
 * whether a step is short enough to run on the main thread.
 * @module
 */

/** Milliseconds that a step may take while completions are running. */
const sharedMs = 100;
/** Milliseconds that a step may take if it contains only prompts. */
const promptsOnlyMs = 1000;
const smallestPiece = 16;
/** Steps with fewer tokens are not used to time prompts, because reading the weights dominates their duration. */
const fewestObservedTokens = 16;
/** Maximum time in milliseconds that requests and control messages may wait while the main thread decodes. */
const briefMs = 60;

export class StepTiming {
  /** Milliseconds per prompt token, smoothed; 0 before the first measurement. */
  #promptTokenMs = 0;
  /** Milliseconds per token in the last step without prompt tokens; 0 before the first such step. */
  #completionTokenMs = 0;

  /** Records a step of `tokens` tokens, of which `completionTokens` belong to running completions. */
  observe(tokens: number, completionTokens: number, ms: number): void {
    if (completionTokens === tokens) this.#completionTokenMs = ms / completionTokens;
    if (tokens < fewestObservedTokens || ms <= 0) return;
    const seen = ms / tokens;
    this.#promptTokenMs = this.#promptTokenMs === 0 ? seen : 0.7 * this.#promptTokenMs + 0.3 * seen;
  }

  /** Returns the maximum number of prompt tokens for a step with `completionTokens` running completions. */
  promptTokens(completionTokens: number): number {
    if (this.#promptTokenMs === 0) return completionTokens > 0 ? 64 : 128;
    const wanted = Math.floor((completionTokens > 0 ? sharedMs : promptsOnlyMs) / this.#promptTokenMs);
    return Math.max(smallestPiece, wanted - (wanted % smallestPiece));
  }

  /** Returns whether a step is short. A step with prompt tokens never counts as short: it may have to be aborted. */
  isBrief(tokens: number, completionTokens: number): boolean {
    return (
      completionTokens === tokens && this.#completionTokenMs > 0 && this.#completionTokenMs * completionTokens < briefMs
    );
  }
}
