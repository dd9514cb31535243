/**
 * A model with its context: decodes batches, manages the KV state of each sequence, and converts text to tokens and
 * back.
 *
 * Promise: text goes in and comes out as bytes. A running step can be aborted. `erase` overwrites the KV cache.
 * Trust:   the model file's header has already been checked (`layers/4-model/gguf-header.ts`).
 * Source:  `include/llama.h` of llama.cpp v0.5.0
 * Proof:   test/e2e/openai.test.ts, test/e2e/engine.test.ts
 * @module
 */
import { unpooledBytes, plaintextBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import type { Sampling } from '../types.ts';
import { flashAttention, loadModes } from './abi.ts';
import { Batch } from './batch.ts';
import type { Calls, Pointer } from './bindings.ts';
import { addressOf } from './bindings.ts';
import type { Library } from './library.ts';
import { loadError } from './load-error.ts';
import { Sampler } from './sampler.ts';

/** The size of a context and its computation settings. */
export type ContextShape = {
  /** Maximum number of tokens in one sequence. */
  readonly contextTokens: number;
  readonly parallel: number;
  readonly threads: number;
  /** Maximum number of tokens in a step. */
  readonly batchTokens: number;
  /** Whether to use flash attention; see cpu-plan.ts. */
  readonly flashAttention: boolean;
};

/** How a step ended. */
export type StepResult = 'done' | 'aborted' | 'failed';

/** ggml's polling level (0 to 100), which sets how long threads spin before they sleep; see docs/BENCHMARKS.md. */
const polling = 50;

const statusAborted = 2;

const stepResult = (status: number): StepResult =>
  status === 0 ? 'done' : status === statusAborted ? 'aborted' : 'failed';

/** `LLAMA_VOCAB_TYPE_BPE`. */
const bytePairType = 2;

export class LlamaModel {
  readonly contextTokens: number;
  readonly parallel: number;
  readonly vocabSize: number;
  readonly threads: number;
  readonly batch: Batch;
  readonly #calls: Calls;
  readonly #context: Pointer;
  readonly #vocab: Pointer;
  readonly #memory: Pointer;
  /** The abort callback's data, the text "0" or "1". ggml reads it between the operations of a step. */
  readonly #abortFlag = unpooledBytes(8);
  #piece = plaintextBytes(1024);
  #pieceAt = addressOf(this.#piece);

  private constructor(library: Library, model: Pointer, context: Pointer, shape: ContextShape) {
    const { calls } = library;
    this.#calls = calls;
    this.#context = context;
    this.#vocab = calls.modelVocab(model);
    this.#memory = calls.memory(context);
    this.contextTokens = shape.contextTokens;
    this.parallel = shape.parallel;
    this.threads = shape.threads;
    this.vocabSize = calls.vocabSize(this.#vocab);
    this.batch = new Batch(shape.batchTokens);
    this.#abortFlag.write('0');
    calls.setAbort(context, library.abortCallback, addressOf(this.#abortFlag));
    const pool = library.createThreadPool(shape.threads, polling);
    if (pool !== undefined) calls.attachPool(context, pool, pool);
  }

  /**
   * Loads a model and creates a context for all sequences.
   * @param paths - `/proc/self/fd/N` of each of the model's files
   * @param name - the model's name, for error messages
   * @throws `ENGINE_MODEL_REFUSED`, `ENGINE_MODEL_INCOMPLETE`, `ENGINE_ARCHITECTURE_UNKNOWN`,
   * `ENGINE_TOKENIZER_UNKNOWN`, `ENGINE_MEMORY`
   */
  static async open(
    library: Library,
    paths: readonly string[],
    name: string,
    shape: ContextShape,
  ): Promise<LlamaModel> {
    const { calls } = library;
    const params = { ...calls.modelDefaults(), n_gpu_layers: 0, load_mode: loadModes.mmap };
    const model = calls.modelLoad(paths, paths.length, params);
    if (model === null) throw loadError(name, await library.explainLoadError(paths, params));
    const context = calls.contextInit(model, {
      ...calls.contextDefaults(),
      n_ctx: shape.contextTokens * shape.parallel,
      n_batch: shape.batchTokens,
      n_ubatch: shape.batchTokens,
      n_seq_max: shape.parallel,
      n_outputs_max: shape.parallel,
      n_threads: shape.threads,
      n_threads_batch: shape.threads,
      flash_attn_type: shape.flashAttention ? flashAttention.auto : flashAttention.off,
      // One pool of cells for all sequences, so that completions and prompts share a step.
      kv_unified: true,
      offload_kqv: false,
      op_offload: false,
    });
    if (context === null) {
      calls.modelFree(model);
      throw new KwyreError(
        'ENGINE_MEMORY',
        `not enough memory for ${shape.parallel} conversations of ${shape.contextTokens} tokens with the model ${name}`,
        'start with a smaller --ctx or --parallel',
      );
    }
    return new LlamaModel(library, model, context, shape);
  }

  /** Decodes the batch on this thread, then overwrites it. For steps too short to be worth dispatching. */
  decodeHere(): StepResult {
    this.#abortFlag[0] = 0x30;
    try {
      return stepResult(this.#calls.decode(this.#context, this.batch.struct));
    } finally {
      this.batch.clear();
    }
  }

  /** Decodes the batch on another thread, then overwrites it. */
  async decode(): Promise<StepResult> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#abortFlag[0] = 0x30;
    this.#calls.decode.async(this.#context, this.batch.struct, (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    });
    try {
      return stepResult(await promise);
    } finally {
      this.batch.clear();
    }
  }

  /** Aborts the running step after its current operation. */
  abortStep(): void {
    this.#abortFlag[0] = 0x31;
  }

  /** Frees a sequence's KV cells. Their content stays until they are reused or `erase` is called. */
  forget(sequence: number): void {
    this.#calls.sequenceRemove(this.#memory, sequence, -1, -1);
  }

  /** Truncates a sequence at a position. @returns `false` if this model's state cannot be truncated */
  forgetFrom(sequence: number, position: number): boolean {
    return this.#calls.sequenceRemove(this.#memory, sequence, position, -1);
  }

  /** Returns the size of a sequence's state in bytes. Call this and the next two methods only between steps. */
  stateBytes(sequence: number): number {
    return this.#calls.stateSize(this.#context, sequence);
  }

  /** Copies a sequence's state to an address. @returns its size in bytes, 0 if `room` is too small */
  readState(sequence: number, to: Pointer, room: number): number {
    return this.#calls.stateGet(this.#context, to, room, sequence);
  }

  /** Restores a sequence's state. @returns `false` if too few cells are free or the bytes are not a valid state */
  writeState(sequence: number, from: Pointer, bytes: number): boolean {
    return this.#calls.stateSet(this.#context, from, bytes, sequence) > 0;
  }

  /** Frees all sequences and overwrites their keys and values. */
  erase(): void {
    this.#calls.memoryClear(this.#memory, true);
  }

  /** Whether a token ends a completion. Not cached: the answers would list the tokens of ended conversations. */
  endsGeneration(token: number): boolean {
    return this.#calls.isEndOfGeneration(this.#vocab, token);
  }

  /** The token that begins a prompt, or `undefined` if this model has none. */
  get bos(): number | undefined {
    const token = this.#calls.addsBos(this.#vocab) ? this.#calls.bos(this.#vocab) : -1;
    return token < 0 ? undefined : token;
  }

  /** Whether the tokenizer uses byte-pair encoding, whose regular expressions may recurse over a text. */
  get isBytePair(): boolean {
    return this.#calls.vocabType(this.#vocab) === bytePairType;
  }

  /** Returns the attributes of a token as bits of `tokenAttributes`. */
  attributes(token: number): number {
    return this.#calls.attributes(this.#vocab, token);
  }

  /** Returns the text of a token named by the model's template. Never call it with a token from a conversation. */
  textOf(token: number): string {
    return this.#calls.tokenText(this.#vocab, token);
  }

  /**
   * Tokenises UTF-8 bytes.
   * @param special - whether the name of a control token is converted to that token
   * @returns the number of tokens; negative if `target` is too small
   */
  tokenize(bytes: Uint8Array, target: Int32Array, special: boolean): number {
    if (bytes.length === 0) return 0;
    return this.#calls.tokenize(
      this.#vocab,
      addressOf(bytes),
      bytes.length,
      addressOf(target),
      target.length,
      false,
      special,
    );
  }

  /** {@link tokenize} on another thread, for long texts. */
  async tokenizeOffThread(bytes: Uint8Array, target: Int32Array, special: boolean): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#calls.tokenize.async(
      this.#vocab,
      addressOf(bytes),
      bytes.length,
      addressOf(target),
      target.length,
      false,
      special,
      (error, result) => {
        if (error === null) resolve(result);
        else reject(error);
      },
    );
    return await promise;
  }

  /** Returns the text of a token as a view that is valid until the next call. The caller overwrites it. */
  piece(token: number): Buffer {
    const take = () => this.#calls.tokenToPiece(this.#vocab, token, this.#pieceAt, this.#piece.length, 0, false);
    let length = take();
    if (length < 0) {
      this.#piece = plaintextBytes(-length);
      this.#pieceAt = addressOf(this.#piece);
      length = take();
    }
    return this.#piece.subarray(0, Math.max(0, length));
  }

  /** Creates the sampler of one generation. */
  makeSampler(sampling: Sampling, seed: number, prompt: Int32Array): Sampler {
    return new Sampler(this.#calls, this.#context, { vocabSize: this.vocabSize, sampling, seed, prompt });
  }
}
