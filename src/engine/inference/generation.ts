/**
 * One completion in progress: the prompt's tokens, the position in the context, and the conversion of sampled tokens to
 * text.
 *
 * Promise: token ids are overwritten as soon as they are decoded. Those that a stored conversation needs are
 *          overwritten at the end.
 * Proof:   test/e2e/openai.test.ts, test/e2e/engine.test.ts
 * @module
 */
import { plaintextMemory, wipeBytes } from '../../base/bytes.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { StopMatcher } from '../bytes/stop-matcher.ts';
import { Utf8Holdback } from '../bytes/utf8.ts';
import type { LlamaModel } from '../llama/model.ts';
import type { PromptTokens } from '../llama/prompt-tokenizer.ts';
import type { Sampler } from '../llama/sampler.ts';
import type { FinishReason, RequestError, Sampling, Usage } from '../types.ts';

/** Receives the text of one completion. */
export type Sink = {
  /** Receives whole characters as a view that is valid only during the call. */
  content(bytes: Uint8Array): void;
  /** Sends what was written. Called while the next step runs, so that sending does not delay a step. */
  flush?(): void;
  finish(reason: FinishReason, usage: Usage): void;
  fail(error: RequestError): void;
  /** Returns whether the client is reading too slowly, so that decoding should pause. */
  congested(): boolean;
};

/** A KV state that stays in its slot between two turns of a conversation. */
export type ParkedState = {
  /** Whether no turn is waiting for this state. */
  readonly idle: boolean;
  /** Seals the state into the vault, so that its slot can be reused. */
  seal(): void;
};

/** How a generation ended. */
export type GenerationEnd = {
  /** The generation's slot; -1 if it never got one. */
  readonly slot: number;
  /** The tokens whose KV state the slot holds, as a view that is valid only during the call. */
  readonly tokens: Int32Array;
  /** Whether the slot's state is known; `false` if a step did not complete. */
  readonly intact: boolean;
  /** The text, as a view that is valid only during the call; `undefined` if the generation failed or was cancelled. */
  readonly completion: Buffer | undefined;
};

/** Connects a generation to a stored conversation. Its methods are called between steps. */
export type KvBinding = {
  /** Returns the slot that still holds the conversation's state. */
  residentSlot(): number | undefined;
  /** Loads the state into a slot. @returns the number of prompt tokens that need no decoding */
  attach(slot: number, prompt: Int32Array): number;
  /** Stores the result; called once. @returns the state if it stays in its slot */
  detach(end: GenerationEnd): ParkedState | undefined;
};

/** A request for a generation. @internal */
export type Task = {
  /** The prompt's tokens; the generation takes ownership of them and overwrites them. */
  readonly prompt: PromptTokens;
  readonly sampling: Sampling;
  readonly seed: number;
  /** Maximum number of completion tokens; `null` means up to the end of the context. */
  readonly maxTokens: number | null;
  readonly stop: readonly Uint8Array[];
  /** Milliseconds on the scheduler's clock after which the generation fails. */
  readonly deadline: number;
  readonly binding?: KvBinding;
};

export class Generation {
  readonly sink: Sink;
  readonly promptTokens: number;
  readonly deadline: number;
  /** The generation's slot; -1 while it waits for one. */
  slot = -1;
  /** Position of the next token in the context. */
  position = 0;
  completionTokens = 0;
  /** Whether the client has disconnected; nothing more is then written to the sink. */
  cancelled = false;
  over = false;
  /** The token that was sampled but not yet decoded, or -1. */
  #pending = -1;
  /** The batch index of this step's logits, or -1. */
  #logitsAt = -1;
  /** The prompt's tokens; with a binding, every token in the slot. */
  readonly #tokens: Int32Array;
  readonly #binding: KvBinding | undefined;
  /** The text so far, if a conversation stores it. */
  readonly #text: ByteWriter | undefined;
  #finished = false;
  /** Number of prompt tokens that needed no decoding. */
  #cached = 0;
  /** Whether a step with this generation's tokens is running or was not completed. */
  #unsettled = false;
  #detached = false;
  readonly #sampler: Sampler;
  readonly #llama: LlamaModel;
  readonly #maxTokens: number;
  readonly #characters = new Utf8Holdback();
  readonly #stops: StopMatcher;

  constructor(llama: LlamaModel, task: Task, sink: Sink) {
    const { tokens, length } = task.prompt;
    this.#llama = llama;
    this.promptTokens = length;
    this.#maxTokens = Math.min(task.maxTokens ?? Number.POSITIVE_INFINITY, llama.contextTokens - length);
    this.#binding = task.binding;
    this.#tokens = tokens;
    if (task.binding !== undefined) {
      this.#text = new ByteWriter(512);
      this.#tokens = new Int32Array(plaintextMemory(4 * (length + this.#maxTokens)));
      this.#tokens.set(tokens.subarray(0, length));
      tokens.fill(0);
    }
    this.#sampler = llama.makeSampler(task.sampling, task.seed, this.#tokens.subarray(0, length));
    this.#stops = new StopMatcher(task.stop);
    this.deadline = task.deadline;
    this.sink = sink;
  }

  /** Number of prompt tokens that have not been decoded yet. */
  get promptLeft(): number {
    return Math.max(0, this.promptTokens - this.position);
  }

  /** Whether this generation no longer needs the running step, so that the step may be aborted. */
  get finished(): boolean {
    return this.over || this.cancelled;
  }

  /** The slot that already holds the conversation's state, if any. */
  get residentSlot(): number | undefined {
    return this.#binding?.residentSlot();
  }

  /** Assigns a slot to this generation and loads the state of earlier turns into the slot. */
  attach(slot: number): void {
    this.slot = slot;
    this.#cached = this.#binding?.attach(slot, this.#tokens.subarray(0, this.promptTokens)) ?? 0;
    this.position = this.#cached;
  }

  /** Gives up the slot; later calls do nothing. @returns the state if it stays in the slot */
  detach(): ParkedState | undefined {
    if (this.#detached) return undefined;
    this.#detached = true;
    return this.#binding?.detach({
      slot: this.slot,
      tokens: this.#tokens.subarray(0, this.position),
      intact: !this.#unsettled,
      completion: this.#finished ? this.#text?.view() : undefined,
    });
  }

  /** Records that the step with this generation's tokens has completed. */
  settle(): void {
    this.#unsettled = false;
  }

  /** Prepares for a new step, in which this generation has no tokens yet. */
  beginStep(): void {
    this.#logitsAt = -1;
  }

  /** Adds up to `limit` tokens to the batch. @returns the number of tokens added */
  fill(limit: number): number {
    const { batch } = this.#llama;
    if (this.promptLeft === 0) {
      if (this.#pending < 0 || limit < 1) return 0;
      this.#unsettled = true;
      this.#logitsAt = batch.add(this.#pending, this.position, this.slot, true);
      if (this.#binding !== undefined) this.#tokens[this.position] = this.#pending;
      this.#pending = -1;
      this.position += 1;
      return 1;
    }
    const count = Math.min(limit, this.promptLeft);
    if (count > 0) this.#unsettled = true;
    for (let i = 0; i < count; i += 1) {
      const last = this.promptLeft === 1;
      const at = batch.add(this.#tokens[this.position] ?? 0, this.position, this.slot, last);
      if (last) this.#logitsAt = at;
      if (this.#binding === undefined) this.#tokens[this.position] = 0;
      this.position += 1;
    }
    return count;
  }

  /** Samples the next token from the logits of this step. */
  advance(): void {
    if (this.#logitsAt < 0) return;
    const token = this.#sampler.sample(this.#logitsAt);
    this.completionTokens += 1;
    if (this.#llama.endsGeneration(token)) {
      this.#end('stop');
      return;
    }
    const piece = this.#llama.piece(token);
    try {
      const { emit, stopped } = this.#stops.push(this.#characters.push(piece));
      this.#emit(emit);
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

  #emit(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#text?.bytes(bytes);
    this.sink.content(bytes);
  }

  #end(reason: FinishReason): void {
    // Bytes that were held back for an unfinished character or stop string belong to the text.
    const { emit, stopped } = this.#stops.push(this.#characters.flush());
    this.#emit(emit);
    if (!stopped) this.#emit(this.#stops.flush());
    this.#finish(stopped ? 'stop' : reason);
  }

  #finish(reason: FinishReason): void {
    this.over = true;
    this.#finished = true;
    this.sink.finish(reason, {
      promptTokens: this.promptTokens,
      completionTokens: this.completionTokens,
      cachedTokens: this.#cached,
    });
  }

  /** Ends the generation with an error, unless it has already ended. */
  fail(error: RequestError): void {
    if (this.finished) return;
    this.over = true;
    this.sink.fail(error);
  }

  /** Overwrites the tokens and text and frees the sampler. */
  [Symbol.dispose](): void {
    this.over = true;
    this.detach();
    this.#pending = -1;
    this.#tokens.fill(0);
    this.#text?.[Symbol.dispose]();
    this.#sampler[Symbol.dispose]();
    this.#stops[Symbol.dispose]();
    this.#characters[Symbol.dispose]();
  }
}
