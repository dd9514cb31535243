/**
 * llama.cpp's shared libraries: opened from where they are said to be, compared with the version that the structSizes were
 * written for, silenced.
 *
 * Promise: a library of another version or another struct layout is refused before anything is passed to it. Nothing is
 *          looked for in a folder: what is opened is what was handed over.
 * Limits:  CPU only. Its log goes nowhere, since it may quote what it works on; `explain` listens to it once, for a
 *          model that did not load, before any conversation.
 * Source:  `include/llama.h`, `ggml/include/ggml-backend.h` of llama.cpp v0.5.0
 * Proof:   test/e2e/openai.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';
import { ffi, libc } from '../../linux/ffi.ts';
import { fingerprint, structSizes, llamaVersion } from './abi.ts';

/** An address in this process. */
export type Pointer = bigint;

/** A call that can also run off the main thread. */
type Async<A extends unknown[], R> = ((...args: A) => R) & {
  async(...args: [...A, (error: Error | null, result: R) => void]): void;
};

type Tokenize = Async<
  [
    vocab: Pointer,
    text: Pointer,
    length: number,
    tokens: Pointer,
    room: number,
    addSpecial: boolean,
    parseSpecial: boolean,
  ],
  number
>;

/** Where each library is; in the engine, descriptors of sealed memory. */
export type LibraryFiles = {
  readonly base: string;
  readonly ggml: string;
  readonly llama: string;
  /** One for each kind of processor. */
  readonly variants: readonly string[];
};

/** Finds the libraries among paths by the names of their files. */
export function libraryFiles(paths: ReadonlyMap<string, string>): LibraryFiles {
  const find = (pattern: RegExp): string[] => [...paths].filter(([file]) => pattern.test(file)).map(([, path]) => path);
  return {
    base: find(/^libggml-base\.so$/)[0] ?? '',
    ggml: find(/^libggml\.v0\.5\.0\.so$/)[0] ?? '',
    llama: find(/^libllama\.v0\.5\.0\.so$/)[0] ?? '',
    variants: find(/^libggml-cpu[\w.-]*\.so$/),
  };
}

function bindAll(files: LibraryFiles) {
  // The binding's calls are untyped; each is given its C signature and its type side by side.
  const binder = (file: string) => {
    const library = ffi.load(file);
    return (signature: string) => library.func(signature);
  };
  // In this order: the later ones find the earlier ones by their names, and look nowhere.
  const base = binder(files.base);
  const ggml = binder(files.ggml);
  const llama = binder(files.llama);
  return {
    loadBackend: ggml('void *ggml_backend_load(const char *path)') as (path: string) => Pointer | null,
    deviceCount: ggml('size_t ggml_backend_dev_count()') as () => number,
    deviceGet: ggml('void *ggml_backend_dev_get(size_t index)') as (index: number) => Pointer,
    deviceName: base('const char *ggml_backend_dev_name(void *device)') as (device: Pointer) => string,
    deviceRegistry: base('void *ggml_backend_dev_backend_reg(void *device)') as (device: Pointer) => Pointer,
    registryFunction: base('void *ggml_backend_reg_get_proc_address(void *registry, const char *name)') as (
      registry: Pointer,
      name: string,
    ) => Pointer | null,
    poolDefaults: base('void ggml_threadpool_params_init(void *params, int threads)') as (
      params: Pointer,
      threads: number,
    ) => void,

    version: llama('const char *llama_version()') as () => string,
    logSet: llama('void llama_log_set(void *callback, void *data)') as (callback: Pointer | null, data: null) => void,
    backendInit: llama('void llama_backend_init()') as () => void,
    modelDefaults: llama('llama_model_params llama_model_default_params()') as () => Record<string, unknown>,
    contextDefaults: llama('llama_context_params llama_context_default_params()') as () => Record<string, unknown>,
    modelLoad: llama(
      'void *llama_model_load_from_splits(const char **paths, size_t count, llama_model_params params)',
    ) as Async<[paths: readonly string[], count: number, params: object], Pointer | null>,
    modelFree: llama('void llama_model_free(void *model)') as (model: Pointer) => void,
    contextInit: llama('void *llama_init_from_model(void *model, llama_context_params params)') as (
      model: Pointer,
      params: object,
    ) => Pointer | null,
    contextFree: llama('void llama_free(void *context)') as (context: Pointer) => void,
    attachPool: llama('void llama_attach_threadpool(void *context, void *one, void *batch)') as (
      context: Pointer,
      one: Pointer,
      batch: Pointer,
    ) => void,
    modelVocab: llama('void *llama_model_get_vocab(void *model)') as (model: Pointer) => Pointer,
    trainedContext: llama('int32_t llama_model_n_ctx_train(void *model)') as (model: Pointer) => number,
    parameterCount: llama('uint64_t llama_model_n_params(void *model)') as (model: Pointer) => number,
    contextPerSequence: llama('uint32_t llama_n_ctx_seq(void *context)') as (context: Pointer) => number,

    vocabType: llama('int32_t llama_vocab_type(void *vocab)') as (vocab: Pointer) => number,
    vocabSize: llama('int32_t llama_vocab_n_tokens(void *vocab)') as (vocab: Pointer) => number,
    isEndOfGeneration: llama('bool llama_vocab_is_eog(void *vocab, int32_t token)') as (
      vocab: Pointer,
      token: number,
    ) => boolean,
    bos: llama('int32_t llama_vocab_bos(void *vocab)') as (vocab: Pointer) => number,
    addsBos: llama('bool llama_vocab_get_add_bos(void *vocab)') as (vocab: Pointer) => boolean,
    attributes: llama('int32_t llama_vocab_get_attr(void *vocab, int32_t token)') as (
      vocab: Pointer,
      token: number,
    ) => number,
    tokenText: llama('const char *llama_vocab_get_text(void *vocab, int32_t token)') as (
      vocab: Pointer,
      token: number,
    ) => string,
    tokenize: llama(
      'int32_t llama_tokenize(void *vocab, void *text, int32_t length, void *tokens, int32_t room, bool add_special, bool parse_special)',
    ) as Tokenize,
    tokenToPiece: llama(
      'int32_t llama_token_to_piece(void *vocab, int32_t token, void *buffer, int32_t length, int32_t lstrip, bool special)',
    ) as (vocab: Pointer, token: number, buffer: Pointer, length: number, strip: number, special: boolean) => number,

    decode: llama('int32_t llama_decode(void *context, llama_batch batch)') as Async<
      [context: Pointer, batch: object],
      number
    >,
    setAbort: llama('void llama_set_abort_callback(void *context, void *callback, void *data)') as (
      context: Pointer,
      callback: Pointer,
      data: Pointer,
    ) => void,
    memory: llama('void *llama_get_memory(void *context)') as (context: Pointer) => Pointer,
    sequenceRemove: llama('bool llama_memory_seq_rm(void *memory, int32_t seq, int32_t p0, int32_t p1)') as (
      memory: Pointer,
      sequence: number,
      from: number,
      to: number,
    ) => boolean,
    memoryClear: llama('void llama_memory_clear(void *memory, bool data)') as (memory: Pointer, data: boolean) => void,

    stateSize: llama('size_t llama_state_seq_get_size(void *context, int32_t seq)') as (
      context: Pointer,
      sequence: number,
    ) => number,
    stateGet: llama('size_t llama_state_seq_get_data(void *context, void *target, size_t size, int32_t seq)') as (
      context: Pointer,
      target: Pointer,
      size: number,
      sequence: number,
    ) => number,
    stateSet: llama('size_t llama_state_seq_set_data(void *context, void *source, size_t size, int32_t seq)') as (
      context: Pointer,
      source: Pointer,
      size: number,
      sequence: number,
    ) => number,

    chainInit: llama('void *llama_sampler_chain_init(llama_sampler_chain_params params)') as (
      params: object,
    ) => Pointer,
    chainAdd: llama('void llama_sampler_chain_add(void *chain, void *sampler)') as (
      chain: Pointer,
      sampler: Pointer,
    ) => void,
    greedy: llama('void *llama_sampler_init_greedy()') as () => Pointer,
    distribution: llama('void *llama_sampler_init_dist(uint32_t seed)') as (seed: number) => Pointer,
    topK: llama('void *llama_sampler_init_top_k(int32_t k)') as (k: number) => Pointer,
    topP: llama('void *llama_sampler_init_top_p(float p, size_t keep)') as (p: number, keep: number) => Pointer,
    minP: llama('void *llama_sampler_init_min_p(float p, size_t keep)') as (p: number, keep: number) => Pointer,
    temperature: llama('void *llama_sampler_init_temp(float t)') as (t: number) => Pointer,
    penalties: llama(
      'void *llama_sampler_init_penalties(int32_t n_vocab, int32_t last_n, float repeat, float freq, float present)',
    ) as (vocabSize: number, last: number, repeat: number, frequency: number, presence: number) => Pointer,
    logitBias: llama('void *llama_sampler_init_logit_bias(int32_t n_vocab, int32_t n, void *biases)') as (
      vocabSize: number,
      count: number,
      biases: Pointer,
    ) => Pointer,
    accept: llama('void llama_sampler_accept(void *sampler, int32_t token)') as (
      sampler: Pointer,
      token: number,
    ) => void,
    sample: llama('int32_t llama_sampler_sample(void *chain, void *context, int32_t index)') as (
      chain: Pointer,
      context: Pointer,
      index: number,
    ) => number,
    samplerFree: llama('void llama_sampler_free(void *chain)') as (chain: Pointer) => void,
  };
}

export type Calls = ReturnType<typeof bindAll>;

/**
 * The address of bytes of ours. They must have an `ArrayBuffer` of their own: V8 moves small typed arrays that have
 * none.
 */
export const addressOf = ffi.address as (value: ArrayBufferView) => Pointer;

/** The address of a function of the C library, to hand to native code. */
const functionOf = (name: string): Pointer => libc.symbol(name) as Pointer;

/** A loaded library of the version that the structSizes belong to. */
export type Library = {
  readonly calls: Calls;
  readonly version: string;
  readonly backend: string;
  /** Makes a pool of threads that live as long as the process; `undefined` for one thread. */
  readonly makePool: (threads: number, poll: number) => Pointer | undefined;
  /** `int (const char *)`: 0 for the text "0", 1 for "1"; lets native code ask us something without calling back. */
  readonly ask: Pointer;
  /** Loads a model once more off the main thread and gives the lines that llama.cpp logs as errors. */
  readonly explain: (paths: readonly string[], params: object) => Promise<string>;
};

const mismatch = () =>
  new KwyreError(
    'ENGINE_ABI_MISMATCH',
    `the installed llama.cpp is not the version that this engine was written for (${llamaVersion})`,
    'install again with npm ci --ignore-scripts',
  );

function open(files: LibraryFiles): Calls {
  try {
    return bindAll(files);
  } catch {
    // The loader's words hold nothing that a reader could use: a file is missing, or a symbol of this version is.
    throw mismatch();
  }
}

function checkLayout(calls: Calls): void {
  const differs = (defaults: Record<string, unknown>, expected: Readonly<Record<string, unknown>>) =>
    Object.entries(expected).some(([key, value]) => defaults[key] !== value);
  const sizes = Object.entries(structSizes).some(([, { type, size }]) => ffi.sizeof(type) !== size);
  if (sizes || calls.version() !== llamaVersion) throw mismatch();
  if (
    differs(calls.modelDefaults(), fingerprint.modelParams) ||
    differs(calls.contextDefaults(), fingerprint.contextParams)
  )
    throw mismatch();
}

/** Bytes of `struct ggml_threadpool_params`, and where its polling level stands. */
const poolParams = { size: 528, poll: 520 } as const;

/** How well a variant fits this processor, by its own word; 0 when it cannot run here. */
function scoreOf(path: string): number {
  let library: ReturnType<typeof ffi.load>;
  try {
    library = ffi.load(path);
  } catch {
    return 0;
  }
  try {
    return (library.func('int ggml_backend_score()') as () => number)();
  } catch {
    return 0; // no variant
  } finally {
    library.unload();
  }
}

/** The variant for this processor. */
function bestVariant(files: LibraryFiles): string | undefined {
  const scored = files.variants.map((path) => ({ path, score: scoreOf(path) })).filter(({ score }) => score > 0);
  return scored.sort((a, b) => b.score - a.score)[0]?.path;
}

/**
 * Loads llama.cpp and the variant for this processor.
 * @throws `ENGINE_ABI_MISMATCH`, `ENGINE_BACKEND_MISSING`
 */
export function openLibrary(files: LibraryFiles): Library {
  const calls = open(files);
  checkLayout(calls);
  // A function of the C library that looks at nothing and says nothing: a JavaScript one cannot be called from ggml's
  // threads.
  const silent = functionOf('getpid');
  calls.logSet(silent, null);
  const variant = bestVariant(files);
  if (variant !== undefined) calls.loadBackend(variant);
  const devices = Array.from({ length: calls.deviceCount() }, (_, index) => calls.deviceGet(index));
  const [device] = devices;
  if (device === undefined)
    throw new KwyreError(
      'ENGINE_BACKEND_MISSING',
      'no CPU variant of llama.cpp fits this processor',
      'Kwyre needs a 64-bit x86 or ARM processor; install again with npm ci --ignore-scripts',
    );
  calls.backendInit();

  return {
    calls,
    version: calls.version(),
    backend: devices.map((entry) => calls.deviceName(entry)).join(' '),
    ask: functionOf('atoi'),
    makePool(threads, poll) {
      const make = threads > 1 ? calls.registryFunction(calls.deviceRegistry(device), 'ggml_threadpool_new') : null;
      if (make === null) return undefined;
      const params = Buffer.from(new ArrayBuffer(poolParams.size));
      calls.poolDefaults(addressOf(params), threads);
      params.writeUInt32LE(poll, poolParams.poll);
      return (ffi.call(make, poolNew, addressOf(params)) as Pointer | null) ?? undefined;
    },
    async explain(paths, params) {
      let text = '';
      const errorLevel = 4;
      const listen = ffi.register((level: number, line: string) => {
        if (level === errorLevel && text.length < 4096) text += line;
      }, ffi.pointer(logLine));
      calls.logSet(listen, null);
      try {
        const { promise, resolve } = Promise.withResolvers<undefined>();
        calls.modelLoad.async(paths, paths.length, params, (_error, model) => {
          if (typeof model === 'bigint') calls.modelFree(model);
          resolve(undefined);
        });
        await promise;
      } finally {
        calls.logSet(silent, null);
        ffi.unregister(listen);
      }
      return text;
    },
  };
}

const poolNew = ffi.proto('void *kwyre_pool_new(void *params)');
const logLine = ffi.proto('void kwyre_log(int level, const char *text, void *data)');
