/**
 * The functions of llama.cpp and ggml that the engine calls, with their C signatures.
 *
 * Limits: the signatures are valid for the version in abi.ts, which library.ts checks before the first call.
 * Source: `include/llama.h`, `ggml/include/ggml-backend.h` of llama.cpp v0.5.0
 * Proof:  test/unit/engine/model.test.ts
 * @module
 */
import { ffi } from '../../linux/ffi.ts';

/** An address in this process. */
export type Pointer = bigint;

/** A function that can also be called on another thread. */
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

/** Paths of the libraries. In the engine they are memfds, as `/proc/self/fd/N`. */
export type LibraryFiles = {
  readonly base: string;
  readonly ggml: string;
  readonly llama: string;
  /** CPU variants, one for each microarchitecture. */
  readonly variants: readonly string[];
};

/** Opens the libraries and binds the functions that the engine calls. @throws if a file or a symbol is missing */
export function bindLlama(files: LibraryFiles) {
  // koffi's functions are untyped, so each C signature below is followed by its TypeScript type.
  const binder = (file: string) => {
    const library = ffi.load(file);
    return (signature: string) => library.func(signature);
  };
  // The order matters: later libraries find the earlier ones by soname, without a search path.
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
      'int32_t llama_tokenize(void *vocab, void *text, int32_t length, void *tokens, int32_t room, ' +
        'bool add_special, bool parse_special)',
    ) as Tokenize,
    tokenToPiece: llama(
      'int32_t llama_token_to_piece(void *vocab, int32_t token, void *buffer, int32_t length, int32_t lstrip, ' +
        'bool special)',
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

export type Calls = ReturnType<typeof bindLlama>;

/**
 * Returns the address of a typed array. The array must be created over an explicit `ArrayBuffer`; otherwise V8 keeps
 * small arrays in its heap and may move them.
 */
export const addressOf = ffi.address as (value: ArrayBufferView) => Pointer;
