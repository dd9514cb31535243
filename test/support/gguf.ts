/**
 * Writes GGUF files for tests and benchmarks: llama models with random weights.
 * @module
 */
import { closeSync, openSync, writeSync } from 'node:fs';

export type Value =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly text: string }
  | { readonly flag: boolean }
  | { readonly texts: readonly string[] }
  | { readonly i32s: readonly number[] }
  | { readonly raw: Buffer };
export type Tensor = { readonly name: string; readonly shape: readonly number[]; readonly type: 0 | 2 };

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function encode(value: Value): Buffer {
  if ('raw' in value) return value.raw;
  if ('u32' in value) return Buffer.concat([u32(4), u32(value.u32)]);
  if ('f32' in value) {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value.f32);
    return Buffer.concat([u32(6), bytes]);
  }
  if ('text' in value) return Buffer.concat([u32(8), text(value.text)]);
  if ('flag' in value) return Buffer.concat([u32(7), Buffer.from([value.flag ? 1 : 0])]);
  if ('texts' in value) return Buffer.concat([u32(9), u32(8), u64(value.texts.length), ...value.texts.map(text)]);
  return Buffer.concat([u32(9), u32(5), u64(value.i32s.length), Buffer.from(new Int32Array(value.i32s).buffer)]);
}

/** Bytes of a tensor's data. */
export function tensorBytes(tensor: Tensor): number {
  const elements = tensor.shape.reduce((product, extent) => product * extent, 1);
  return tensor.type === 0 ? elements * 4 : (elements / 32) * 18;
}

/** The bytes before the data, padded; offsets follow the order of the tensors. */
export function header(metadata: readonly (readonly [string, Value])[], tensors: readonly Tensor[]): Buffer {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.length)];
  for (const [key, value] of metadata) parts.push(text(key), encode(value));
  let offset = 0;
  for (const tensor of tensors) {
    parts.push(text(tensor.name), u32(tensor.shape.length), ...tensor.shape.map(u64), u32(tensor.type), u64(offset));
    offset += Math.ceil(tensorBytes(tensor) / 32) * 32;
  }
  const whole = Buffer.concat(parts);
  return Buffer.concat([whole, Buffer.alloc((32 - (whole.length % 32)) % 32)]);
}

/** A small generator, so that files repeat. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
}

/** Random data of a tensor: Q4_0 blocks with sane scales, or floats around zero (norms around one). */
export function tensorData(tensor: Tensor, next: () => number): Buffer {
  const bytes = Buffer.allocUnsafe(tensorBytes(tensor));
  if (tensor.type === 0) {
    const norm = tensor.name.includes('norm');
    for (let at = 0; at < bytes.length; at += 4) bytes.writeFloatLE(norm ? 1 : (next() / 2 ** 32 - 0.5) * 0.2, at);
    return bytes;
  }
  for (let at = 0; at + 4 <= bytes.length; at += 4) bytes.writeUInt32LE(next(), at);
  for (let at = 0; at < bytes.length; at += 18) bytes.writeUInt16LE(0x1800 + (next() & 0x3ff), at); // half floats of about 0.002 to 0.004
  return bytes;
}

export type Shape = {
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly feedForward: number;
  readonly context: number;
  readonly vocabulary: number;
  readonly type: 0 | 2;
};

/** GPT-2's printable stand-ins for the 256 bytes. */
function byteTokens(): string[] {
  const printable = [...Array(94).keys()]
    .map((i) => i + 33)
    .concat(
      [...Array(12).keys()].map((i) => i + 161),
      [...Array(82).keys()].map((i) => i + 174),
    );
  let extra = 0;
  return [...Array(256).keys()].map((byte) => String.fromCodePoint(printable.includes(byte) ? byte : 256 + extra++));
}

export const chatMl =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** Metadata and tensors of a llama model. */
export function llamaModel(shape: Shape): { metadata: [string, Value][]; tensors: Tensor[] } {
  const tokens = [...byteTokens(), '<|endoftext|>', '<|im_start|>', '<|im_end|>'];
  const control = tokens.length - 3;
  while (tokens.length < shape.vocabulary) tokens.push(`<unused${tokens.length}>`);
  const kv = (shape.dim / shape.heads) * shape.kvHeads;
  const metadata: [string, Value][] = [
    ['general.architecture', { text: 'llama' }],
    ['general.name', { text: 'random weights' }],
    ['llama.context_length', { u32: shape.context }],
    ['llama.embedding_length', { u32: shape.dim }],
    ['llama.block_count', { u32: shape.layers }],
    ['llama.feed_forward_length', { u32: shape.feedForward }],
    ['llama.attention.head_count', { u32: shape.heads }],
    ['llama.attention.head_count_kv', { u32: shape.kvHeads }],
    ['llama.attention.layer_norm_rms_epsilon', { f32: 1e-5 }],
    ['llama.rope.freq_base', { f32: 10000 }],
    ['llama.vocab_size', { u32: shape.vocabulary }],
    ['tokenizer.ggml.model', { text: 'gpt2' }],
    ['tokenizer.ggml.pre', { text: 'gpt-2' }],
    ['tokenizer.ggml.tokens', { texts: tokens }],
    ['tokenizer.ggml.token_type', { i32s: tokens.map((_, i) => (i >= control && i < control + 3 ? 3 : 1)) }],
    ['tokenizer.ggml.merges', { texts: [] }],
    ['tokenizer.ggml.bos_token_id', { u32: control }],
    ['tokenizer.ggml.eos_token_id', { u32: control + 2 }],
    ['tokenizer.ggml.add_bos_token', { flag: false }],
    ['tokenizer.chat_template', { text: chatMl }],
  ];
  const weight = (name: string, ...extents: number[]): Tensor => ({
    name: `${name}.weight`,
    shape: extents,
    type: extents.length === 1 ? 0 : shape.type,
  });
  const tensors = [weight('token_embd', shape.dim, shape.vocabulary)];
  for (let i = 0; i < shape.layers; i += 1) {
    const b = `blk.${i}`;
    tensors.push(
      weight(`${b}.attn_norm`, shape.dim),
      weight(`${b}.attn_q`, shape.dim, shape.dim),
      weight(`${b}.attn_k`, shape.dim, kv),
      weight(`${b}.attn_v`, shape.dim, kv),
      weight(`${b}.attn_output`, shape.dim, shape.dim),
      weight(`${b}.ffn_norm`, shape.dim),
      weight(`${b}.ffn_gate`, shape.dim, shape.feedForward),
      weight(`${b}.ffn_up`, shape.dim, shape.feedForward),
      weight(`${b}.ffn_down`, shape.feedForward, shape.dim),
    );
  }
  tensors.push(weight('output_norm', shape.dim), weight('output', shape.dim, shape.vocabulary));
  return { metadata, tensors };
}

/** A model of a few hundred kilobytes: it answers noise, but it answers. */
export const tinyShape: Shape = {
  dim: 64,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  feedForward: 128,
  context: 1024,
  vocabulary: 259,
  type: 0,
};
/** About 507 million parameters, for speed. */
export const benchShape: Shape = {
  dim: 1280,
  layers: 24,
  heads: 20,
  kvHeads: 4,
  feedForward: 3584,
  context: 4096,
  vocabulary: 32000,
  type: 2,
};

export type Model = { metadata: [string, Value][]; tensors: Tensor[] };

/** Writes a model file tensor by tensor; `data` gives the bytes of each. */
export function writeFile(path: string, { metadata, tensors }: Model, data: (tensor: Tensor) => Buffer): void {
  const fd = openSync(path, 'w');
  writeSync(fd, header(metadata, tensors));
  for (const tensor of tensors) {
    const bytes = data(tensor);
    writeSync(fd, bytes);
    const padding = (32 - (bytes.length % 32)) % 32;
    if (padding > 0) writeSync(fd, Buffer.alloc(padding));
  }
  closeSync(fd);
}

const u16 = (value: number): Value => ({ raw: Buffer.from([2, 0, 0, 0, value & 255, value >> 8]) });

/** Names of the files of a model in parts, as llama-gguf-split gives them. */
export function partNames(stem: string, count: number): string[] {
  return Array.from(
    { length: count },
    (_, index) => `${stem}-${String(index + 1).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.gguf`,
  );
}

/**
 * Writes a model of random weights in one file, and the same in parts: the first holds the metadata, each some tensors.
 */
export function writeSplit(whole: string, parts: readonly string[], shape: Shape): void {
  const model = llamaModel(shape);
  const next = random(1);
  const data = new Map(model.tensors.map((tensor) => [tensor.name, tensorData(tensor, next)]));
  const bytes = (tensor: Tensor): Buffer => data.get(tensor.name) ?? Buffer.alloc(0);
  writeFile(whole, model, bytes);
  const each = Math.ceil(model.tensors.length / parts.length);
  parts.forEach((path, index) => {
    const split: Record<string, Value> = {
      'split.no': u16(index),
      'split.count': u16(parts.length),
      'split.tensors.count': { raw: Buffer.concat([u32(5), u32(model.tensors.length)]) },
    };
    const own = {
      metadata: index === 0 ? model.metadata : [],
      tensors: model.tensors.slice(index * each, (index + 1) * each),
    };
    writeFile(path, withMetadata(own, split), bytes);
  });
}

/** Writes a model of random weights. */
export function writeModel(path: string, shape: Shape, seed = 1): void {
  const next = random(seed);
  writeFile(path, llamaModel(shape), (tensor) => tensorData(tensor, next));
}

/** Token ids of the test vocabulary: a byte stands for itself, in the order of `byteTokens`. */
export const tokens = { beginning: 256, turn: 257, turnEnd: 258 } as const;

/** The metadata of a model with some values replaced (or added; `undefined` takes one away). */
export function withMetadata(model: Model, changes: Readonly<Record<string, Value | undefined>>): Model {
  const kept = model.metadata.filter(([key]) => !Object.hasOwn(changes, key));
  return {
    tensors: model.tensors,
    metadata: [
      ...kept,
      ...Object.entries(changes).flatMap(([key, value]): [string, Value][] =>
        value === undefined ? [] : [[key, value]],
      ),
    ],
  };
}

/**
 * Writes a model that always goes on from one token to the same next one: after the bytes of `text` in turn, and from
 * the last of them to the token that ends an answer when `ends`, else to the first again. A prompt that ends with a
 * newline begins the text. Each byte of `text` may come once only.
 */
export function writeChain(
  path: string,
  text: string,
  ends: boolean,
  changes: Readonly<Record<string, Value | undefined>> = {},
): void {
  const { dim, vocabulary } = tinyShape;
  const bytes = [...Buffer.from(text)];
  const following = new Map<number, number>([['\n'.charCodeAt(0), bytes[0] ?? 0]]);
  bytes.forEach((byte, i) => following.set(byte, bytes[i + 1] ?? (ends ? tokens.turnEnd : (bytes[0] ?? 0))));
  const next = random(7);
  const directions = Array.from({ length: vocabulary }, () =>
    Float32Array.from({ length: dim }, () => (next() >>> 31 === 0 ? 1 : -1)),
  );
  const rows = (row: (token: number) => Float32Array) =>
    Buffer.concat(Array.from({ length: vocabulary }, (_, token) => Buffer.from(row(token).slice().buffer)));
  writeFile(path, withMetadata(llamaModel(tinyShape), changes), (tensor) => {
    if (tensor.name === 'token_embd.weight') return rows((token) => directions[token] ?? new Float32Array(dim));
    if (tensor.name === 'output.weight') {
      return rows((token) => {
        const sum = new Float32Array(dim);
        for (const [from, to] of following)
          if (to === token) directions[from]?.forEach((value, i) => (sum[i] = (sum[i] ?? 0) + value));
        return sum;
      });
    }
    if (tensor.shape.length === 1) return tensorData(tensor, next);
    return Buffer.alloc(tensorBytes(tensor)); // attention and feed-forward add nothing
  });
}
