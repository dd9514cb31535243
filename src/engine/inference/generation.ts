/**
 * One answer in the making: the prompt's tokens, where it stands, and how its tokens become bytes for its reader.
 *
 * Promise: token ids live in memory of its own that is overwritten as they are decoded and when it ends.
 * Proof:   test/e2e/openai.test.ts, test/e2e/engine.test.ts
 * @module
 */
import { wipeBytes, plaintextMemory } from '../../base/bytes.ts';
import type { LlamaModel } from '../llama/model.ts';
import type { FinishReason, RequestError, Sampling, Usage } from '../types.ts';
import type { Sampler } from '../llama/sampler.ts';
import { StopMatcher } from '../bytes/stop-matcher.ts';
import { Utf8Holdback } from '../bytes/utf8.ts';
import type { PromptTokens } from '../llama/prompt-tokenizer.ts';

/** Who reads the answer. */
export type Reader = {
  /** Whole characters of the answer; a view, valid only during the call. */
  content(bytes: Uint8Array): void;
  /** Sends what was said so far: called while the next step runs, so that sending costs no step. */
  deliver?(): void;
  finish(reason: FinishReason, usage: Usage): void;
  fail(error: RequestError): void;
  /** Whether the reader is so far behind that decoding for it should wait. */
  behind(): boolean;
};

/** What a sequence remembered before, and what becomes of it afterwards; called between steps only. */
export type KvBinding = {
  /** A sequence that holds it already. */
  seat(): number | undefined;
  /** Gives a sequence back what it remembered; gives how many of the prompt's tokens need no computing. */
  enter(sequence: number, prompt: Int32Array): number;
  /**
   * The answer is over. Called once, with -1 when it never had a sequence; `tokens` are those that the sequence holds.
   * @returns whether the sequence is kept as it is.
   */
  leave(sequence: number, tokens: Int32Array, intact: boolean): boolean;
};

/** What an answer is asked to be. */
export type Task = {
  readonly prompt: PromptTokens;
  readonly sampling: Sampling;
  readonly seed: number;
  /** `null`: as far as the context reaches. */
  readonly maxTokens: number | null;
  readonly stop: readonly Uint8Array[];
  /** When the answer is broken off, on the scheduler's clock. */
  readonly deadline: number;
  readonly stay?: KvBinding;
};

export class Generation {
  readonly reader: Reader;
  readonly promptTokens: number;
  readonly deadline: number;
  /** The sequence that it holds, or -1 while it waits. */
  sequence = -1;
  /** Tokens decoded so far: the position of the next one. */
  position = 0;
  completionTokens = 0;
  /** Its reader is gone: it ends without another word. */
  cancelled = false;
  over = false;
  /** The token that was sampled and not decoded yet, or -1. */
  #pending = -1;
  /** The batch index of its logits in this step, or -1. */
  #logitsAt = -1;
  /** The prompt; with a stay, every token that the sequence holds. */
  readonly #tokens: Int32Array;
  readonly #stay: KvBinding | undefined;
  /** Tokens of the prompt that were there already. */
  #cached = 0;
  /** A step with tokens of this answer is under way, or was lost. */
  #unsure = false;
  #left = false;
  readonly #sampler: Sampler;
  readonly #llama: LlamaModel;
  readonly #maxTokens: number;
  readonly #characters = new Utf8Holdback();
  readonly #stops: StopMatcher;

  /** Takes over the prompt's tokens. */
  constructor(llama: LlamaModel, task: Task, reader: Reader) {
    const { tokens, length } = task.prompt;
    this.#llama = llama;
    this.promptTokens = length;
    this.#maxTokens = Math.min(task.maxTokens ?? Number.POSITIVE_INFINITY, llama.contextTokens - length);
    this.#stay = task.stay;
    this.#tokens = tokens;
    if (task.stay !== undefined) {
      this.#tokens = new Int32Array(plaintextMemory(4 * (length + this.#maxTokens)));
      this.#tokens.set(tokens.subarray(0, length));
      tokens.fill(0);
    }
    this.#sampler = llama.makeSampler(task.sampling, task.seed, this.#tokens.subarray(0, length));
    this.#stops = new StopMatcher(task.stop);
    this.deadline = task.deadline;
    this.reader = reader;
  }

  /** Prompt tokens that are not decoded yet. */
  get promptLeft(): number {
    return Math.max(0, this.promptTokens - this.position);
  }

  /** Whether a step with the tokens that it put in may be lost. */
  get finished(): boolean {
    return this.over || this.cancelled;
  }

  /** Where it would like to sit. */
  get seat(): number | undefined {
    return this.#stay?.seat();
  }

  /** Takes a sequence, with what it remembers of former turns. */
  enter(sequence: number): void {
    this.sequence = sequence;
    this.#cached = this.#stay?.enter(sequence, this.#tokens.subarray(0, this.promptTokens)) ?? 0;
    this.position = this.#cached;
  }

  /** Leaves its sequence; gives whether that is kept as it is. */
  leave(): boolean {
    if (this.#left) return false;
    this.#left = true;
    return this.#stay?.leave(this.sequence, this.#tokens.subarray(0, this.position), !this.#unsure) ?? false;
  }

  /** The step with its tokens is done. */
  settle(): void {
    this.#unsure = false;
  }

  /** Begins another step, for which nothing was put in yet. */
  rest(): void {
    this.#logitsAt = -1;
  }

  /** Puts up to `limit` tokens into the batch; gives how many. */
  fill(limit: number): number {
    const { batch } = this.#llama;
    if (this.promptLeft === 0) {
      if (this.#pending < 0 || limit < 1) return 0;
      this.#unsure = true;
      this.#logitsAt = batch.add(this.#pending, this.position, this.sequence, true);
      if (this.#stay !== undefined) this.#tokens[this.position] = this.#pending;
      this.#pending = -1;
      this.position += 1;
      return 1;
    }
    const count = Math.min(limit, this.promptLeft);
    if (count > 0) this.#unsure = true;
    for (let i = 0; i < count; i += 1) {
      const last = this.promptLeft === 1;
      const at = batch.add(this.#tokens[this.position] ?? 0, this.position, this.sequence, last);
      if (last) this.#logitsAt = at;
      if (this.#stay === undefined) this.#tokens[this.position] = 0;
      this.position += 1;
    }
    return count;
  }

  /** Takes the next token from the logits of this step. */
  advance(): void {
    if (this.#logitsAt < 0) return;
    const token = this.#sampler.sample(this.#logitsAt);
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
    if (this.completionTokens >= this.#maxTokens) this.#end('length');
    else this.#pending = token;
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
    this.reader.finish(reason, {
      promptTokens: this.promptTokens,
      completionTokens: this.completionTokens,
      cachedTokens: this.#cached,
    });
  }

  /** Tells the reader that there will be no (further) answer. */
  fail(error: RequestError): void {
    if (this.finished) return;
    this.over = true;
    this.reader.fail(error);
  }

  /** Overwrites what it holds and gives its sampler back. */
  [Symbol.dispose](): void {
    this.over = true;
    this.leave();
    this.#pending = -1;
    this.#tokens.fill(0);
    this.#sampler[Symbol.dispose]();
    this.#stops[Symbol.dispose]();
    this.#characters[Symbol.dispose]();
  }
}
