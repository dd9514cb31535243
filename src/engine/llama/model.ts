/**
 * A model and its one context: steps of a batch, what each sequence remembers, tokens from bytes and bytes from tokens.
 *
 * Promise: text goes in and comes out as bytes only; a step under way can be broken off; `erase` overwrites what all
 *          sequences remembered.
 * Trust:   the header of the model file was checked before (`layers/4-model/gguf-header.ts`).
 * Source:  `include/llama.h` of llama.cpp v0.5.0
 * Proof:   test/e2e/openai.test.ts, test/e2e/engine.test.ts
 * @module
 */
import { unpooledBytes, plaintextBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import { Batch } from './batch.ts';
import { flashAttention, loadModes } from './abi.ts';
import type { Calls, Library, Pointer } from './library.ts';
import { addressOf } from './library.ts';
import type { Sampling } from '../types.ts';
import { Sampler } from './sampler.ts';

/** How a context is laid out. */
export type ContextShape = {
  /** Tokens of one sequence. */
  readonly contextTokens: number;
  readonly parallel: number;
  readonly threads: number;
  /** The most tokens of one step. */
  readonly batchTokens: number;
  /** Whether attention may be computed in one operation; see flash-attention.ts. */
  readonly flashAttention: boolean;
};

/** How a step ended. */
export type StepResult = 'done' | 'broken off' | 'failed';

/** How long ggml's threads look for the next step before they sleep; see docs/BENCHMARKS.md. */
const polling = 50;

const statusAborted = 2;

const ended = (status: number): StepResult =>
  status === 0 ? 'done' : status === statusAborted ? 'broken off' : 'failed';

/** Says in our words why a model did not load. */
function refusal(name: string, log: string): KwyreError {
  if (/unknown model architecture/.test(log))
    return new KwyreError(
      'ENGINE_ARCHITECTURE_UNKNOWN',
      `llama.cpp does not know the architecture of the model ${name}`,
      'use a model of an architecture that llama.cpp v0.5.0 supports, or a later Kwyre',
    );
  if (/failed to allocate|unable to allocate|bad_alloc|failed to fit/.test(log))
    return new KwyreError(
      'ENGINE_MEMORY',
      `there is not enough memory for the weights of the model ${name}`,
      'use a smaller model or a smaller quantisation of it',
    );
  if (/unknown (pre-)?tokenizer/.test(log))
    return new KwyreError(
      'ENGINE_TOKENIZER_UNKNOWN',
      `llama.cpp does not know the tokenizer of the model ${name}`,
      'use another conversion of the model, or a later Kwyre',
    );
  if (
    /tensor .* not found|missing tensor|wrong shape|wrong number of tensors|key not found in model|error loading model vocabulary/.test(
      log,
    )
  )
    return new KwyreError(
      'ENGINE_MODEL_INCOMPLETE',
      `tensors or entries of the vocabulary are missing in the model ${name}, or are not what its header says`,
      'fetch the file again from its source and compare its digest',
    );
  return new KwyreError(
    'ENGINE_MODEL_REFUSED',
    `llama.cpp cannot load the model ${name}`,
    'try another GGUF file, or another conversion of it',
  );
}

/** `LLAMA_VOCAB_TYPE_BPE`. */
const bytePairs = 2;

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
  /** The text "0" or "1", which native code reads between the operations of a step. */
  readonly #stop = unpooledBytes(8);
  #piece = plaintextBytes(1024);

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
    this.#stop.write('0');
    calls.setAbort(context, library.ask, addressOf(this.#stop));
    const pool = library.makePool(shape.threads, polling);
    if (pool !== undefined) calls.attachPool(context, pool, pool);
  }

  /**
   * Loads the model behind paths of ours (`/proc/self/fd/N`, one for each of its files) and makes one context for all
   * sequences.
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
    const params = { ...calls.modelDefaults(), n_gpu_layers: 0, load_mode: loadModes.map };
    const model = calls.modelLoad(paths, paths.length, params);
    if (model === null) throw refusal(name, await library.explain(paths, params));
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
      // One pool of cells for all sequences: tokens of answers and of prompts then go through the weights together.
      kv_unified: true,
      offload_kqv: false,
      op_offload: false,
    });
    if (context === null) {
      calls.modelFree(model);
      throw new KwyreError(
        'ENGINE_MEMORY',
        `there is not enough memory for ${shape.parallel} conversations of ${shape.contextTokens} tokens with the model ${name}`,
        'start with a smaller --ctx or --parallel',
      );
    }
    return new LlamaModel(library, model, context, shape);
  }

  /** Decodes the batch on this thread, then overwrites it: for steps so short that handing them over would be felt. */
  decodeHere(): StepResult {
    this.#stop[0] = 0x30;
    try {
      return ended(this.#calls.decode(this.#context, this.batch.struct));
    } finally {
      this.batch.clear();
    }
  }

  /** Decodes the batch off this thread, then overwrites it. */
  async decode(): Promise<StepResult> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#stop[0] = 0x30;
    this.#calls.decode.async(this.#context, this.batch.struct, (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    });
    try {
      return ended(await promise);
    } finally {
      this.batch.clear();
    }
  }

  /** Breaks off the step that is under way, after the operation that it is in. */
  breakOff(): void {
    this.#stop[0] = 0x31;
  }

  /** Forgets a sequence; its cells are free for others, their bytes stay until then or until `erase`. */
  forget(sequence: number): void {
    this.#calls.sequenceRemove(this.#memory, sequence, -1, -1);
  }

  /** Forgets a sequence from a position on; `false` where this model cannot go back. */
  forgetFrom(sequence: number, position: number): boolean {
    return this.#calls.sequenceRemove(this.#memory, sequence, position, -1);
  }

  /** Bytes of what a sequence remembers; between steps only, as the two below. */
  stateBytes(sequence: number): number {
    return this.#calls.stateSize(this.#context, sequence);
  }

  /** Writes what a sequence remembers to an address; gives the bytes, 0 when there was no room. */
  readState(sequence: number, to: Pointer, room: number): number {
    return this.#calls.stateGet(this.#context, to, room, sequence);
  }

  /** Gives a sequence back what it remembered; `false` when the cells do not suffice or the bytes are no state. */
  writeState(sequence: number, from: Pointer, bytes: number): boolean {
    return this.#calls.stateSet(this.#context, from, bytes, sequence) > 0;
  }

  /** Forgets all sequences and overwrites their keys and values. */
  erase(): void {
    this.#calls.memoryClear(this.#memory, true);
  }

  /** Whether a token ends an answer. */
  ends(token: number): boolean {
    return this.#calls.isEndOfGeneration(this.#vocab, token);
  }

  /** The token that begins a prompt, or `undefined` when this model wants none. */
  get beginning(): number | undefined {
    const token = this.#calls.addsBos(this.#vocab) ? this.#calls.bos(this.#vocab) : -1;
    return token < 0 ? undefined : token;
  }

  /** Whether the vocabulary is one of byte pairs, whose patterns may recurse over a text. */
  get splitsByPattern(): boolean {
    return this.#calls.vocabType(this.#vocab) === bytePairs;
  }

  /** Bits of `tokenAttributes`. */
  attributes(token: number): number {
    return this.#calls.attributes(this.#vocab, token);
  }

  /** The text of a token that the model's template names; never of a token of a conversation. */
  textOf(token: number): string {
    return this.#calls.tokenText(this.#vocab, token);
  }

  /** Writes the tokens of UTF-8 bytes into `target`; a negative result says how many there would be. */
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

  /** As {@link tokenize}, off this thread: for long texts. */
  async tokenizeAside(bytes: Uint8Array, target: Int32Array, special: boolean): Promise<number> {
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

  /** The bytes of a token: a view, valid until the next call; the caller overwrites it. */
  piece(token: number): Buffer {
    const take = () =>
      this.#calls.tokenToPiece(this.#vocab, token, addressOf(this.#piece), this.#piece.length, 0, false);
    let length = take();
    if (length < 0) {
      this.#piece = plaintextBytes(-length);
      length = take();
    }
    return this.#piece.subarray(0, Math.max(0, length));
  }

  /** The samplers of one answer. */
  makeSampler(sampling: Sampling, seed: number, prompt: Int32Array): Sampler {
    return new Sampler(this.#calls, this.#context, this.vocabSize, sampling, seed, prompt);
  }
}
