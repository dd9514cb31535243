/**
 * One answer in the making: the prompt's tokens, where it stands, and how its tokens become bytes for its reader.
 *
 * Promise: token ids live in memory of its own that is overwritten as they are decoded and when it ends.
 * Proof:   test/e2e/engine.test.ts
 * @module
 */
import { wipeBytes } from '../base/bytes.ts';
import type { Llama, Sampler } from './llama.ts';
import type { FinishReason, RequestError, Usage } from './request.ts';
import { StopMatcher } from './stop.ts';
import { Utf8Holdback } from './utf8.ts';

/** Who reads the answer. */
export type Reader = {
  /** Whole characters of the answer; a view, valid only during the call. */
  content(bytes: Uint8Array): void;
  finish(reason: FinishReason, usage: Usage): void;
  fail(error: RequestError): void;
  /** Whether the reader is so far behind that decoding for it should wait. */
  behind(): boolean;
};

/** The prompt of an answer, in memory of its own. */
export type TokenRun = { readonly tokens: Int32Array; readonly length: number };

export class Generation {
  readonly reader: Reader;
  readonly promptTokens: number;
  /** The sequence that it holds, or -1 while it waits. */
  sequence = -1;
  /** Tokens decoded so far: the position of the next one. */
  position = 0;
  completionTokens = 0;
  /** The token that was sampled and not decoded yet, or -1. */
  pending = -1;
  /** The batch index of its logits in this step, or -1. */
  logitsAt = -1;
  cancelled = false;
  over = false;
  readonly deadline: number;
  readonly #prompt: TokenRun;
  readonly #sampler: Sampler;
  readonly #llama: Llama;
  readonly #maxTokens: number;
  readonly #characters = new Utf8Holdback();
  readonly #stops: StopMatcher;

  constructor(llama: Llama, prompt: TokenRun, sampler: Sampler, maxTokens: number, stops: readonly Uint8Array[], deadline: number, reader: Reader) {
    this.#llama = llama;
    this.#prompt = prompt;
    this.promptTokens = prompt.length;
    this.#sampler = sampler;
    this.#maxTokens = maxTokens;
    this.#stops = new StopMatcher(stops);
    this.deadline = deadline;
    this.reader = reader;
  }

  /** Prompt tokens that are not decoded yet. */
  get promptLeft(): number {
    return Math.max(0, this.#prompt.length - this.position);
  }

  /** Puts up to `limit` tokens into the batch; gives how many. */
  fill(limit: number): number {
    this.logitsAt = -1;
    if (this.promptLeft === 0) {
      if (this.pending < 0 || limit < 1) return 0;
      this.logitsAt = this.#llama.add(this.pending, this.position, this.sequence, true);
      this.pending = -1;
      this.position += 1;
      return 1;
    }
    const count = Math.min(limit, this.promptLeft);
    for (let i = 0; i < count; i += 1) {
      const last = this.promptLeft === 1;
      const at = this.#llama.add(this.#prompt.tokens[this.position] ?? 0, this.position, this.sequence, last);
      if (last) this.logitsAt = at;
      this.#prompt.tokens[this.position] = 0;
      this.position += 1;
    }
    return count;
  }

  /** Takes the next token from the logits of this step. */
  advance(): void {
    if (this.logitsAt < 0) return;
    const token = this.#llama.sample(this.#sampler, this.logitsAt);
    this.completionTokens += 1;
    if (this.#llama.ends(token)) {
      this.#end('stop');
      return;
    }
    const piece = this.#llama.piece(token);
    try {
      const { emit, stopped } = this.#stops.push(this.#characters.push(piece));
      if (emit.length > 0) this.reader.content(emit);
      if (stopped) {
        this.#finish('stop');
        return;
      }
    } finally {
      wipeBytes(piece);
    }
    this.pending = token;
    if (this.completionTokens >= this.#maxTokens) this.#end('length');
  }

  #end(reason: FinishReason): void {
    // What was held back for a character or a stop string that never came is part of the answer.
    const { emit, stopped } = this.#stops.push(this.#characters.flush());
    if (emit.length > 0) this.reader.content(emit);
    if (!stopped) {
      const rest = this.#stops.flush();
      if (rest.length > 0) this.reader.content(rest);
    }
    this.#finish(stopped ? 'stop' : reason);
  }

  #finish(reason: FinishReason): void {
    this.over = true;
    this.reader.finish(reason, { promptTokens: this.promptTokens, completionTokens: this.completionTokens });
  }

  /** Overwrites what it holds and gives its sampler back. */
  [Symbol.dispose](): void {
    this.over = true;
    this.pending = -1;
    this.#prompt.tokens.fill(0);
    this.#llama.freeSampler(this.#sampler);
    this.#stops[Symbol.dispose]();
    this.#characters[Symbol.dispose]();
  }
}
