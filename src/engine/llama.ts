/**
 * llama.cpp's C API: the only caller. Models, contexts, batches, tokens and samplers as the rest of the engine needs them.
 *
 * Trust:   the model file was checked before (`layers/4-model`); text goes in and comes out as bytes only.
 * Limits:  one version of llama.cpp (`layout.ts`), CPU only.
 * Source:  `include/llama.h` of llama.cpp v0.5.0
 * Proof:   test/e2e/engine.test.ts
 * @module
 */
import { KwyreError, bug } from '../base/errors.ts';
import { ffi, libc } from '../linux/ffi.ts';
import { fingerprint, llamaVersion, loadModes } from './layout.ts';
import type { Sampling } from './request.ts';

type Pointer = bigint;
/** The binding's calls are untyped; each is given its C signature and its type side by side. */
type Bind = <F extends (...args: never[]) => unknown>(signature: string) => F;

function bindAll(directory: string) {
  const binder = (file: string): Bind => {
    const library = ffi.load(`${directory}/${file}`);
    return (<F>(signature: string) => library.func(signature) as F) as Bind;
  };
  const ggml = binder('libggml.v0.5.0.so');
  const base = binder('libggml-base.so');
  const llama = binder('libllama.v0.5.0.so');
  return {
    loadBackends: ggml<(path: string) => void>('void ggml_backend_load_all_from_path(const char *path)'),
    deviceCount: ggml<() => number>('size_t ggml_backend_dev_count()'),
    deviceGet: ggml<(index: number) => Pointer>('void *ggml_backend_dev_get(size_t index)'),
    deviceName: base<(device: Pointer) => string>('const char *ggml_backend_dev_name(void *device)'),
    version: llama<() => string>('const char *llama_version()'),
    logSet: llama<(callback: unknown, data: null) => void>('void llama_log_set(void *callback, void *data)'),
    backendInit: llama<() => void>('void llama_backend_init()'),
    modelDefaults: llama<() => Record<string, unknown>>('llama_model_params llama_model_default_params()'),
    contextDefaults: llama<() => Record<string, unknown>>('llama_context_params llama_context_default_params()'),
    modelLoad: llama<(path: string, params: object) => Pointer | null>('void *llama_model_load_from_file(const char *path, llama_model_params params)'),
    contextInit: llama<(model: Pointer, params: object) => Pointer | null>('void *llama_init_from_model(void *model, llama_context_params params)'),
    modelVocab: llama<(model: Pointer) => Pointer>('void *llama_model_get_vocab(void *model)'),
    trainedContext: llama<(model: Pointer) => number>('int32_t llama_model_n_ctx_train(void *model)'),
    parameterCount: llama<(model: Pointer) => number>('uint64_t llama_model_n_params(void *model)'),
    contextPerSequence: llama<(context: Pointer) => number>('uint32_t llama_n_ctx_seq(void *context)'),
    vocabSize: llama<(vocab: Pointer) => number>('int32_t llama_vocab_n_tokens(void *vocab)'),
    isEndOfGeneration: llama<(vocab: Pointer, token: number) => boolean>('bool llama_vocab_is_eog(void *vocab, int32_t token)'),
    bos: llama<(vocab: Pointer) => number>('int32_t llama_vocab_bos(void *vocab)'),
    addsBos: llama<(vocab: Pointer) => boolean>('bool llama_vocab_get_add_bos(void *vocab)'),
    tokenize: llama<(vocab: Pointer, text: Pointer, length: number, tokens: Pointer, room: number, addSpecial: boolean, parseSpecial: boolean) => number>(
      'int32_t llama_tokenize(void *vocab, void *text, int32_t length, void *tokens, int32_t room, bool add_special, bool parse_special)',
    ),
    tokenToPiece: llama<(vocab: Pointer, token: number, buffer: Pointer, length: number, strip: number, special: boolean) => number>(
      'int32_t llama_token_to_piece(void *vocab, int32_t token, void *buffer, int32_t length, int32_t lstrip, bool special)',
    ),
    decode: (() => {
      const library = ffi.load(`${directory}/libllama.v0.5.0.so`);
      return library.func('int32_t llama_decode(void *context, llama_batch batch)') as unknown as { async(context: Pointer, batch: object, done: (error: Error | null, result: number) => void): void };
    })(),
    memory: llama<(context: Pointer) => Pointer>('void *llama_get_memory(void *context)'),
    sequenceRemove: llama<(memory: Pointer, sequence: number, from: number, to: number) => boolean>('bool llama_memory_seq_rm(void *memory, int32_t seq, int32_t p0, int32_t p1)'),
    memoryClear: llama<(memory: Pointer, data: boolean) => void>('void llama_memory_clear(void *memory, bool data)'),
    chainInit: llama<(params: object) => Pointer>('void *llama_sampler_chain_init(llama_sampler_chain_params params)'),
    chainAdd: llama<(chain: Pointer, sampler: Pointer) => void>('void llama_sampler_chain_add(void *chain, void *sampler)'),
    greedy: llama<() => Pointer>('void *llama_sampler_init_greedy()'),
    distribution: llama<(seed: number) => Pointer>('void *llama_sampler_init_dist(uint32_t seed)'),
    topK: llama<(k: number) => Pointer>('void *llama_sampler_init_top_k(int32_t k)'),
    topP: llama<(p: number, keep: number) => Pointer>('void *llama_sampler_init_top_p(float p, size_t keep)'),
    minP: llama<(p: number, keep: number) => Pointer>('void *llama_sampler_init_min_p(float p, size_t keep)'),
    temperature: llama<(t: number) => Pointer>('void *llama_sampler_init_temp(float t)'),
    penalties: llama<(vocabSize: number, last: number, repeat: number, frequency: number, presence: number) => Pointer>(
      'void *llama_sampler_init_penalties(int32_t n_vocab, int32_t last_n, float repeat, float freq, float present)',
    ),
    logitBias: llama<(vocabSize: number, count: number, biases: Pointer) => Pointer>('void *llama_sampler_init_logit_bias(int32_t n_vocab, int32_t n, void *biases)'),
    sample: llama<(chain: Pointer, context: Pointer, index: number) => number>('int32_t llama_sampler_sample(void *chain, void *context, int32_t index)'),
    samplerFree: llama<(chain: Pointer) => void>('void llama_sampler_free(void *chain)'),
  };
}

type Calls = ReturnType<typeof bindAll>;

/** A loaded library of the version that the layouts belong to. */
export type Library = { readonly calls: Calls; readonly version: string; readonly backend: string };

const address = ffi.address as (value: ArrayBufferView) => Pointer;

/**
 * Loads llama.cpp and its CPU variants from a folder; its log goes nowhere, for it may quote what it works on.
 * @throws `ENGINE_ABI_MISMATCH`, `ENGINE_BACKEND_MISSING`
 */
export function openLibrary(directory: string): Library {
  const calls = bindAll(directory);
  const version = calls.version();
  const differs = (defaults: Record<string, unknown>, expected: Readonly<Record<string, unknown>>) => Object.entries(expected).some(([key, value]) => key !== 'size' && defaults[key] !== value);
  if (version !== llamaVersion || differs(calls.modelDefaults(), fingerprint.modelParams) || differs(calls.contextDefaults(), fingerprint.contextParams)) {
    throw new KwyreError('ENGINE_ABI_MISMATCH', `llama.cpp in ${directory} is not the version that this engine was written for (${llamaVersion})`, 'install again with npm ci --ignore-scripts');
  }
  // A function of libc that takes what it is given and says nothing: a JavaScript callback cannot be called from ggml's threads.
  const silent = (libc.func('void *dlsym(void *handle, const char *name)') as (handle: null, name: string) => Pointer)(null, 'getpid');
  calls.logSet(silent, null);
  calls.loadBackends(directory);
  const devices = Array.from({ length: Number(calls.deviceCount()) }, (_, index) => calls.deviceName(calls.deviceGet(index)));
  if (devices.length === 0) throw new KwyreError('ENGINE_BACKEND_MISSING', `no CPU variant of llama.cpp in ${directory} fits this processor`, 'Kwyre needs a 64-bit x86 or ARM processor; install again with npm ci --ignore-scripts');
  calls.backendInit();
  return { calls, version, backend: devices.join(' ') };
}

/** How a context is laid out. */
export type ContextShape = { readonly contextTokens: number; readonly parallel: number; readonly threads: (parameters: number) => number; readonly batchTokens: number };

/** A model with one context for all sequences, and the batch of the next step. */
export class Llama {
  readonly trainedContext: number;
  readonly parameters: number;
  readonly contextTokens: number;
  readonly vocabSize: number;
  readonly threads: number;
  readonly batchTokens: number;
  readonly #calls: Calls;
  readonly #context: Pointer;
  readonly #vocab: Pointer;
  readonly #memory: Pointer;
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #sequences: Int32Array;
  readonly #wanted: Int8Array;
  readonly #struct: Readonly<Record<string, unknown>>;
  /** One sequence id per token, and a pointer to each: llama.cpp reads them, so they live as long as the context. */
  readonly #counts: Int32Array;
  readonly #lists: BigUint64Array;
  readonly #piece = Buffer.allocUnsafeSlow(4096);
  #count = 0;

  /**
   * Loads the model behind a path of ours (`/proc/self/fd/N`) and makes one context for all sequences.
   * @throws `ENGINE_MODEL_REFUSED`, `ENGINE_MEMORY`
   */
  constructor(library: Library, path: string, name: string, shape: ContextShape) {
    const { calls } = library;
    this.#calls = calls;
    const model = calls.modelLoad(path, { ...calls.modelDefaults(), n_gpu_layers: 0, load_mode: loadModes.map });
    if (model === null) throw new KwyreError('ENGINE_MODEL_REFUSED', `llama.cpp cannot load the model ${name}: its architecture or its tensors are not supported, or memory is short`, 'try another GGUF file, or a smaller quantisation of it');
    this.trainedContext = calls.trainedContext(model);
    this.parameters = Number(calls.parameterCount(model));
    this.threads = shape.threads(this.parameters);
    const wanted = shape.contextTokens === 0 ? Math.min(this.trainedContext, 4096) : shape.contextTokens;
    this.batchTokens = Math.min(shape.batchTokens, wanted);
    const context = calls.contextInit(model, {
      ...calls.contextDefaults(),
      n_ctx: wanted * shape.parallel,
      n_batch: this.batchTokens,
      n_ubatch: this.batchTokens,
      n_seq_max: shape.parallel,
      n_threads: this.threads,
      n_threads_batch: this.threads,
      offload_kqv: false,
      op_offload: false,
    });
    if (context === null) throw new KwyreError('ENGINE_MEMORY', `there is not enough memory for ${shape.parallel} conversations of ${wanted} tokens with the model ${name}`, 'start with a smaller --ctx or --parallel');
    this.#context = context;
    this.#vocab = calls.modelVocab(model);
    this.#memory = calls.memory(context);
    this.contextTokens = Math.min(wanted, calls.contextPerSequence(context));
    this.vocabSize = calls.vocabSize(this.#vocab);

    const room = this.batchTokens;
    this.#tokens = new Int32Array(room);
    this.#positions = new Int32Array(room);
    this.#sequences = new Int32Array(room);
    this.#wanted = new Int8Array(room);
    this.#counts = new Int32Array(room).fill(1);
    this.#lists = new BigUint64Array(room);
    const first = address(this.#sequences);
    for (let i = 0; i < room; i += 1) this.#lists[i] = first + BigInt(4 * i);
    this.#struct = { n_tokens: 0, token: address(this.#tokens), embd: null, pos: address(this.#positions), n_seq_id: address(this.#counts), seq_id: address(this.#lists), logits: address(this.#wanted) };
  }

  /** Tokens that still fit into the batch. */
  get room(): number {
    return this.batchTokens - this.#count;
  }

  get batched(): number {
    return this.#count;
  }

  /** Adds one token; gives its index in the batch. */
  add(token: number, position: number, sequence: number, logits: boolean): number {
    if (this.room === 0) bug('batch overflow');
    const at = this.#count;
    this.#tokens[at] = token;
    this.#positions[at] = position;
    this.#sequences[at] = sequence;
    this.#wanted[at] = logits ? 1 : 0;
    this.#count += 1;
    return at;
  }

  /** Decodes the batch off this thread, then overwrites it. Resolves to llama.cpp's result: 0 is fine. */
  async decode(): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#calls.decode.async(this.#context, { ...this.#struct, n_tokens: this.#count }, (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    });
    try {
      return await promise;
    } finally {
      this.#tokens.fill(0, 0, this.#count);
      this.#count = 0;
    }
  }

  /** Forgets what a sequence holds from a position on. */
  forget(sequence: number, from = -1): void {
    this.#calls.sequenceRemove(this.#memory, sequence, from, -1);
  }

  /** Whether a token ends an answer. */
  ends(token: number): boolean {
    return this.#calls.isEndOfGeneration(this.#vocab, token);
  }

  /** The token that begins a prompt, or `undefined` when this model wants none. */
  get beginning(): number | undefined {
    return this.#calls.addsBos(this.#vocab) ? this.#calls.bos(this.#vocab) : undefined;
  }

  /** Writes the tokens of UTF-8 bytes into `target`; a negative result says how many there would be. */
  tokenize(bytes: Uint8Array, target: Int32Array, special: boolean): number {
    if (bytes.length === 0) return 0;
    return this.#calls.tokenize(this.#vocab, address(bytes), bytes.length, address(target), target.length, false, special);
  }

  /** The bytes of a token: a view, valid until the next call; the caller overwrites it. */
  piece(token: number): Buffer {
    const length = this.#calls.tokenToPiece(this.#vocab, token, address(this.#piece), this.#piece.length, 0, false);
    return this.#piece.subarray(0, Math.max(0, length));
  }

  /** Makes a chain of samplers in llama.cpp's customary order. */
  makeSampler(sampling: Sampling, seed: number): Pointer {
    const calls = this.#calls;
    const chain = calls.chainInit({ no_perf: true });
    const biases = sampling.logitBias.filter((entry) => entry.token < this.vocabSize);
    if (biases.length > 0) {
      const packed = Buffer.allocUnsafeSlow(8 * biases.length);
      biases.forEach((entry, index) => {
        packed.writeInt32LE(entry.token, 8 * index);
        packed.writeFloatLE(entry.bias, 8 * index + 4);
      });
      calls.chainAdd(chain, calls.logitBias(this.vocabSize, biases.length, address(packed)));
    }
    if (sampling.repeatPenalty !== 1 || sampling.frequencyPenalty !== 0 || sampling.presencePenalty !== 0) {
      calls.chainAdd(chain, calls.penalties(this.vocabSize, sampling.repeatLastN, sampling.repeatPenalty, sampling.frequencyPenalty, sampling.presencePenalty));
    }
    if (sampling.temperature === 0) {
      calls.chainAdd(chain, calls.greedy());
      return chain;
    }
    if (sampling.topK > 0) calls.chainAdd(chain, calls.topK(sampling.topK));
    if (sampling.topP < 1) calls.chainAdd(chain, calls.topP(sampling.topP, 1));
    if (sampling.minP > 0) calls.chainAdd(chain, calls.minP(sampling.minP, 1));
    calls.chainAdd(chain, calls.temperature(sampling.temperature));
    calls.chainAdd(chain, calls.distribution(seed));
    return chain;
  }

  /** Chooses the next token from the logits of a batch index. */
  sample(sampler: Pointer, index: number): number {
    return this.#calls.sample(sampler, this.#context, index);
  }

  freeSampler(sampler: Pointer): void {
    this.#calls.samplerFree(sampler);
  }
}

export type Sampler = Pointer;
