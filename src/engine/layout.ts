/**
 * Layouts of the structs that llama.cpp takes and returns by value, for one version of it.
 *
 * Limits: valid for the version named here only; `llama.ts` compares version and defaults before it uses them.
 * Source: `include/llama.h` of llama.cpp v0.5.0
 * @module
 */
import { ffi } from '../linux/ffi.ts';

/** What `llama_version()` must answer. */
export const llamaVersion = '0.5.0-dev';

export const modelParams = ffi.struct('llama_model_params', {
  devices: 'void *',
  tensor_buft_overrides: 'void *',
  n_gpu_layers: 'int32_t',
  split_mode: 'int32_t',
  load_mode: 'int32_t',
  lazy_mode: 'int32_t',
  main_gpu: 'int32_t',
  tensor_split: 'void *',
  progress_callback: 'void *',
  progress_callback_user_data: 'void *',
  kv_overrides: 'void *',
  vocab_only: 'bool',
  check_tensors: 'bool',
  use_extra_bufts: 'bool',
  no_host: 'bool',
  no_alloc: 'bool',
  load_mtp: 'bool',
});

export const contextParams = ffi.struct('llama_context_params', {
  n_ctx: 'uint32_t',
  n_batch: 'uint32_t',
  n_ubatch: 'uint32_t',
  n_seq_max: 'uint32_t',
  n_rs_seq: 'uint32_t',
  n_outputs_max: 'uint32_t',
  n_outputs_max_per_seq: 'uint32_t',
  n_threads: 'int32_t',
  n_threads_batch: 'int32_t',
  ctx_type: 'int32_t',
  rope_scaling_type: 'int32_t',
  pooling_type: 'int32_t',
  attention_type: 'int32_t',
  flash_attn_type: 'int32_t',
  rope_freq_base: 'float',
  rope_freq_scale: 'float',
  yarn_ext_factor: 'float',
  yarn_attn_factor: 'float',
  yarn_beta_fast: 'float',
  yarn_beta_slow: 'float',
  yarn_orig_ctx: 'uint32_t',
  defrag_thold: 'float',
  cb_eval: 'void *',
  cb_eval_user_data: 'void *',
  type_k: 'int32_t',
  type_v: 'int32_t',
  abort_callback: 'void *',
  abort_callback_data: 'void *',
  embeddings: 'bool',
  offload_kqv: 'bool',
  no_perf: 'bool',
  op_offload: 'bool',
  swa_full: 'bool',
  kv_unified: 'bool',
  samplers: 'void *',
  n_samplers: 'size_t',
  ctx_other: 'void *',
});

export const batch = ffi.struct('llama_batch', {
  n_tokens: 'int32_t',
  token: 'void *',
  embd: 'void *',
  pos: 'void *',
  n_seq_id: 'void *',
  seq_id: 'void *',
  logits: 'void *',
});

export const samplerChainParams = ffi.struct('llama_sampler_chain_params', { no_perf: 'bool' });

/** Sizes in bytes and some defaults that a library of another layout would not show. */
export const fingerprint = {
  modelParams: { size: 80, n_gpu_layers: -1, split_mode: 1, load_mode: -1, use_extra_bufts: true, check_tensors: false, load_mtp: false },
  contextParams: { size: 160, n_ctx: 512, n_batch: 2048, n_ubatch: 512, n_seq_max: 1, n_outputs_max_per_seq: 1, flash_attn_type: -1, type_k: 1, type_v: 1, no_perf: true, kv_unified: false, swa_full: true },
} as const;

/** `enum llama_load_mode`: read the weights, or map them. */
export const loadModes = { read: 0, map: 1 } as const;
