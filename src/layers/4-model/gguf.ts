/**
 * The header of a GGUF file, read strictly before native code sees it.
 *
 * Promise: every count, length, type, shape and offset is checked against the size of the file; keys whose absence or
 *          form would abort llama.cpp's process are refused here with a code.
 * Trust:   the file is hostile until this returns.
 * Limits:  it does not judge the weights themselves: their digest does (layer 4's manifest).
 * Source:  https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3)
 * Proof:   test/unit/layers/gguf.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';

/** Reads `length` bytes at `offset`; fewer only at the end of the file. */
export type ReadAt = (offset: number, length: number) => Buffer;

/** What the rest of Kwyre needs to know of a model file. */
export type GgufFacts = {
  readonly architecture: string;
  readonly name: string;
  readonly contextTokens: number;
  readonly tensors: number;
  /** Parameters: the product of every tensor's shape, added up. */
  readonly parameters: number;
  readonly vocabulary: number;
  readonly template: string;
  /** Text of the tokens that begin and end a text, for the template; empty when the file names none. */
  readonly bos: string;
  readonly eos: string;
};

const limits = { headerBytes: 512 << 20, pairs: 8192, tensors: 65_536, keyBytes: 256, nameBytes: 128, stringBytes: 16 << 20, templateBytes: 1 << 20, arrayItems: 4 << 20, vocabulary: 2 << 20, alignment: 65_536 } as const;

const types = { uint8: 0, int8: 1, uint16: 2, int16: 3, uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9, uint64: 10, int64: 11, float64: 12 } as const;
const typeBytes: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };

/** Elements and bytes of a block, by tensor type; types that are not here are refused. */
const blocks: Readonly<Record<number, readonly [number, number]>> = {
  0: [1, 4], 1: [1, 2], 2: [32, 18], 3: [32, 20], 6: [32, 22], 7: [32, 24], 8: [32, 34], 9: [32, 36], 10: [256, 84], 11: [256, 110], 12: [256, 144], 13: [256, 176], 14: [256, 210], 15: [256, 292],
  16: [256, 66], 17: [256, 74], 18: [256, 98], 19: [256, 50], 20: [32, 18], 21: [256, 110], 22: [256, 82], 23: [256, 136], 24: [1, 1], 25: [1, 2], 26: [1, 4], 27: [1, 8], 28: [1, 8], 29: [256, 56], 30: [1, 2], 34: [256, 54], 35: [256, 66], 39: [32, 17],
};
const float32Type = 0;

function refuse(fault: string, message: string): never {
  throw new KwyreError(`L4_GGUF_${fault}`, `the model file is not a sound GGUF file: ${message}`, 'fetch the file again from its source and compare its digest');
}

/** Walks through the header; every read is checked against the end of the file. */
class Cursor {
  offset = 0;
  readonly #readAt: ReadAt;
  readonly #size: number;
  #window: Buffer = Buffer.alloc(0);
  #start = 0;

  constructor(readAt: ReadAt, size: number) {
    this.#readAt = readAt;
    this.#size = size;
  }

  take(length: number): Buffer {
    if (length < 0 || this.offset + length > Math.min(this.#size, limits.headerBytes)) refuse('TRUNCATED', 'its header ends before it is complete');
    if (this.offset < this.#start || this.offset + length > this.#start + this.#window.length) {
      this.#start = this.offset;
      this.#window = this.#readAt(this.offset, Math.min(Math.max(length, 1 << 20), this.#size - this.offset));
      if (this.#window.length < length) refuse('TRUNCATED', 'its header ends before it is complete');
    }
    const at = this.offset - this.#start;
    this.offset += length;
    return this.#window.subarray(at, at + length);
  }

  uint32(): number {
    return this.take(4).readUInt32LE(0);
  }

  /** A count or a length: 64 bits in the file, exact in JavaScript or refused. */
  count(what: string, max: number): number {
    const value = this.take(8).readBigUInt64LE(0);
    if (value > BigInt(max)) refuse('LIMIT', `${what} is beyond the limit of ${max}`);
    return Number(value);
  }

  text(what: string, max: number): string {
    return this.take(this.count(`the length of ${what}`, max)).toString('utf8');
  }
}

type Value = number | string | boolean | { readonly length: number; readonly first: number; readonly itemType: number };

function readValue(cursor: Cursor, type: number, key: string): Value {
  if (type === types.string) return cursor.text('a string', key === 'tokenizer.chat_template' ? limits.templateBytes : limits.stringBytes);
  if (type === types.array) {
    const itemType = cursor.uint32();
    if (itemType === types.array) refuse('TYPE', 'arrays of arrays are not used by any model');
    const length = cursor.count('the length of an array', limits.arrayItems);
    const first = cursor.offset;
    if (itemType === types.string) for (let i = 0; i < length; i += 1) cursor.take(cursor.count('the length of a string', limits.stringBytes));
    else cursor.take(length * sizeOf(itemType));
    return { length, first, itemType };
  }
  const bytes = cursor.take(sizeOf(type));
  switch (type) {
    case types.bool:
      if ((bytes[0] ?? 2) > 1) refuse('TYPE', 'a truth value is neither 0 nor 1');
      return bytes[0] === 1;
    case types.float32:
      return bytes.readFloatLE(0);
    case types.float64:
      return bytes.readDoubleLE(0);
    case types.uint64:
      return Number(bytes.readBigUInt64LE(0));
    case types.int64:
      return Number(bytes.readBigInt64LE(0));
    default:
      return type === types.int8 || type === types.int16 || type === types.int32 ? bytes.readIntLE(0, bytes.length) : bytes.readUIntLE(0, bytes.length);
  }
}

function sizeOf(type: number): number {
  return typeBytes[type] ?? refuse('TYPE', 'it uses a value type that GGUF does not have');
}

/** Metadata by key, with typed access that refuses. */
class Metadata {
  readonly values = new Map<string, Value>();

  whole(key: string, min: number, max: number): number {
    const value = this.values.get(key);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) refuse('KEY', `${key} is missing or out of range`);
    return value;
  }

  text(key: string): string {
    const value = this.values.get(key);
    return typeof value === 'string' ? value : '';
  }

  length(key: string): number | undefined {
    const value = this.values.get(key);
    return typeof value === 'object' ? value.length : undefined;
  }
}

/**
 * Parses and checks the header.
 * @throws `L4_GGUF_*` naming what is wrong.
 */
export function parseGguf(readAt: ReadAt, size: number): GgufFacts {
  const cursor = new Cursor(readAt, size);
  if (size < 24 || cursor.take(4).toString('latin1') !== 'GGUF') refuse('MAGIC', 'it does not begin with GGUF');
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) refuse('VERSION', `its version is ${version}, not 2 or 3`);
  const tensorCount = cursor.count('the number of tensors', limits.tensors);
  const pairCount = cursor.count('the number of metadata entries', limits.pairs);

  const metadata = new Metadata();
  for (let i = 0; i < pairCount; i += 1) {
    const key = cursor.text('a key', limits.keyBytes);
    if (metadata.values.has(key)) refuse('KEY', 'a metadata key comes twice');
    metadata.values.set(key, readValue(cursor, cursor.uint32(), key));
  }
  const architecture = metadata.text('general.architecture');
  if (!/^[a-z0-9][a-z0-9_.-]{0,63}$/.test(architecture)) refuse('KEY', 'general.architecture is missing');
  const contextTokens = metadata.whole(`${architecture}.context_length`, 1, 1 << 26);
  metadata.whole(`${architecture}.embedding_length`, 1, 1 << 20);
  metadata.whole(`${architecture}.block_count`, 1, 4096);
  // llama.cpp aborts the whole process without these two.
  for (const key of ['attention.head_count', 'feed_forward_length']) {
    const full = `${architecture}.${key}`;
    if (metadata.length(full) === undefined) metadata.whole(full, 0, 1 << 22);
  }
  const vocabulary = metadata.length('tokenizer.ggml.tokens') ?? refuse('KEY', 'tokenizer.ggml.tokens is missing');
  if (vocabulary < 1 || vocabulary > limits.vocabulary) refuse('LIMIT', 'its vocabulary is empty or too large');
  for (const key of ['tokenizer.ggml.token_type', 'tokenizer.ggml.scores']) {
    const length = metadata.length(key);
    if (length !== undefined && length !== vocabulary) refuse('KEY', `${key} does not fit the vocabulary`);
  }
  const alignment = metadata.values.has('general.alignment') ? metadata.whole('general.alignment', 16, limits.alignment) : 32;
  if ((alignment & (alignment - 1)) !== 0) refuse('ALIGNMENT', 'its alignment is not a power of two');

  const { parameters } = checkTensors(cursor, tensorCount, alignment, size);
  const token = (key: string) => (metadata.values.has(key) ? readToken(readAt, size, metadata, metadata.whole(key, 0, vocabulary - 1)) : '');
  return {
    architecture,
    name: metadata.text('general.name').slice(0, 128),
    contextTokens,
    tensors: tensorCount,
    parameters,
    vocabulary,
    template: metadata.text('tokenizer.chat_template'),
    bos: token('tokenizer.ggml.bos_token_id'),
    eos: token('tokenizer.ggml.eos_token_id'),
  };
}

function checkTensors(cursor: Cursor, count: number, alignment: number, size: number): { parameters: number } {
  const names = new Set<string>();
  const regions: { from: number; to: number }[] = [];
  let parameters = 0;
  for (let i = 0; i < count; i += 1) {
    const name = cursor.text('a tensor name', limits.nameBytes);
    if (name === '' || names.has(name)) refuse('TENSOR', 'a tensor has no name, or two have the same');
    names.add(name);
    const rank = cursor.uint32();
    if (rank < 1 || rank > 4) refuse('TENSOR', 'a tensor has no shape of one to four dimensions');
    let elements = 1n;
    let row = 0;
    for (let d = 0; d < rank; d += 1) {
      const extent = cursor.count('a dimension', Number.MAX_SAFE_INTEGER);
      if (extent < 1) refuse('TENSOR', 'a dimension is zero');
      if (d === 0) row = extent;
      elements *= BigInt(extent);
    }
    const type = cursor.uint32();
    const [perBlock, blockBytes] = blocks[type] ?? refuse('TENSOR', 'a tensor has a type that this engine does not know');
    if (/(^|[._])norm\.weight$/.test(name) && type !== float32Type) refuse('TENSOR', 'the weights of a norm are not 32-bit floats');
    if (row % perBlock !== 0) refuse('TENSOR', 'the rows of a tensor do not fill whole blocks');
    const offset = cursor.count('the offset of a tensor', Number.MAX_SAFE_INTEGER);
    if (offset % alignment !== 0) refuse('TENSOR', 'the data of a tensor is not aligned');
    const bytes = (elements / BigInt(perBlock)) * BigInt(blockBytes);
    if (bytes > BigInt(size)) refuse('TENSOR', 'a tensor is larger than the file');
    regions.push({ from: offset, to: offset + Number(bytes) });
    parameters += Number(elements);
  }
  const data = Math.ceil(cursor.offset / alignment) * alignment;
  regions.sort((a, b) => a.from - b.from);
  let end = 0;
  for (const region of regions) {
    if (region.from < end) refuse('TENSOR', 'the data of two tensors overlaps');
    if (data + region.to > size) refuse('TENSOR', 'the data of a tensor lies beyond the end of the file');
    end = region.to;
  }
  return { parameters };
}

/** The text of one token of the vocabulary. */
function readToken(readAt: ReadAt, size: number, metadata: Metadata, index: number): string {
  const tokens = metadata.values.get('tokenizer.ggml.tokens');
  if (typeof tokens !== 'object' || tokens.itemType !== types.string) refuse('KEY', 'tokenizer.ggml.tokens is not a list of strings');
  const cursor = new Cursor(readAt, size);
  cursor.offset = tokens.first;
  for (let i = 0; i < index; i += 1) cursor.take(cursor.count('the length of a token', limits.stringBytes));
  return cursor.text('a token', 1024);
}
