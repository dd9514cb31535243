/**
 * Validates the header of a GGUF file before native code parses it.
 *
 * Promise: every count, length, type, shape and offset is checked against the file size. If a missing key or its value
 *          would make llama.cpp abort, the file is refused with an error code.
 * Trust:   the file is untrusted.
 * Limits:  the weights themselves are checked only by their digest (approval.ts). Requirements specific to one
 *          architecture are left to llama.cpp, which refuses the model or aborts before the engine has read any
 *          conversation.
 * Source:  https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3)
 * Proof:   test/unit/layers/4-gguf-header.test.ts
 * @module
 */
import { bug, KwyreError } from '../../base/errors.ts';
import type { ReadAt } from './gguf-metadata.ts';
import { Cursor, limits, Metadata, refuse, valueTypes } from './gguf-metadata.ts';
import type { Tally } from './gguf-tensors.ts';
import { checkTensors, describeTypes } from './gguf-tensors.ts';

/** The facts about a model file that Kwyre uses. */
export type GgufFacts = {
  readonly architecture: string;
  readonly name: string;
  /** The context length with which the model was trained. */
  readonly contextTokens: number;
  readonly tensors: number;
  /** Number of parameters: the elements of all tensors. */
  readonly parameters: number;
  /** Types of the weights, with the share of each. */
  readonly quantisation: string;
  readonly vocabulary: number;
  /** The kind of tokenizer: `gpt2`, `llama`, ... */
  readonly tokenizer: string;
  /** The chat template; empty if there is none. */
  readonly template: string;
  /** Text of the BOS and EOS tokens, for the template; empty if the file does not define them. */
  readonly bos: string;
  readonly eos: string;
  /** Bytes per token in a KV cache with 16-bit values; 0 if the header does not determine it. */
  readonly cacheBytesPerToken: number;
  /** Number of elements in an attention head's key and value. */
  readonly headSizes: readonly [key: number, value: number];
};

const layerLimit = 512;
/** Maximum number of parts; the engine holds a descriptor for each one. */
const mostParts = 128;
const expertLimit = 512;
const ropeScalings = ['', 'none', 'linear', 'yarn', 'longrope'];

/** Checks keys whose absence or value would make llama.cpp abort instead of reporting a load error. */
function checkArchitecture(
  metadata: Metadata,
  architecture: string,
): { layers: number; cacheBytesPerToken: number; headSizes: readonly [number, number] } {
  const key = (name: string) => `${architecture}.${name}`;
  const width = metadata.whole(key('embedding_length'), 1, 1 << 20);
  const layers = metadata.whole(key('block_count'), 1, layerLimit);
  metadata.whole(key('nextn_predict_layers'), 0, layers, 0);
  // Models without attention have no attention heads.
  const recurrent = metadata.has(key('ssm.state_size')) || metadata.has(key('wkv.head_size'));
  const least = recurrent ? 0 : 1;
  const heads = metadata.perLayer(key('attention.head_count'), layers, least, 1 << 16);
  if (heads === undefined && !recurrent) refuse('KEY', `${key('attention.head_count')} is missing`);
  if (metadata.perLayer(key('feed_forward_length'), layers, 0, 1 << 22) === undefined && !recurrent)
    refuse('KEY', `${key('feed_forward_length')} is missing`);
  const cacheHeads = metadata.perLayer(key('attention.head_count_kv'), layers, 0, 1 << 16) ?? heads ?? [];
  checkExperts(metadata, key, layers);
  for (const name of [
    'attention.layer_norm_rms_epsilon',
    'attention.layer_norm_epsilon',
    'attention.group_norm_epsilon',
  ])
    metadata.bounded(key(name), 0, 1);
  if (!ropeScalings.includes(metadata.text(key('rope.scaling.type'))))
    refuse('KEY', `${key('rope.scaling.type')} is not known`);

  const perHead = Math.floor(width / Math.max(1, heads?.find((count) => count > 0) ?? 1));
  const keyLength = metadata.whole(key('attention.key_length'), 0, 1 << 16, perHead);
  const valueLength = metadata.whole(key('attention.value_length'), 0, 1 << 16, perHead);
  const compressed = ['attention.kv_lora_rank', 'attention.shared_kv_layers'].some((name) => metadata.has(key(name)));
  const cacheBytesPerToken = compressed
    ? 0
    : cacheHeads.reduce((sum, count) => sum + 2 * count * (keyLength + valueLength), 0);
  return { layers, cacheBytesPerToken, headSizes: [keyLength, valueLength] };
}

function checkExperts(metadata: Metadata, key: (name: string) => string, layers: number): void {
  const experts = metadata.whole(key('expert_count'), 0, expertLimit, 0);
  const used = Math.max(0, ...(metadata.perLayer(key('expert_used_count'), layers, 0, expertLimit) ?? []));
  const groups = metadata.whole(key('expert_group_count'), 0, expertLimit, 0);
  const usedGroups = metadata.whole(key('expert_group_used_count'), 0, expertLimit, 0);
  const sound =
    experts === 0
      ? used === 0 && groups === 0
      : used >= 1 &&
        used <= experts &&
        groups < experts &&
        (groups <= 1 || (experts % groups === 0 && usedGroups >= 1 && usedGroups < groups));
  if (!sound) refuse('KEY', 'its expert counts are inconsistent');
}

/** Tokenizers that do not derive the value of `byte` tokens from their names. */
const namelessBytes: ReadonlySet<string> = new Set(['gpt2', 'rwkv', 'none']);
const byteKind = 6;
const byteName = /^<0x[0-9A-Fa-f]{2}>$/;

/** SentencePiece falls back to one token per byte, and llama.cpp aborts if one of them is missing. */
function checkFallback(names: ReadonlySet<string>): void {
  for (let byte = 0; byte < 256; byte += 1) {
    const name = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
    if (!names.has(name) && !names.has(String.fromCharCode(byte)))
      refuse('KEY', `its vocabulary has no token for the byte ${name}; text with that byte would abort the engine`);
  }
}

/** Checks the vocabulary; returns its size and a function that reads single tokens. */
function checkVocabulary(
  metadata: Metadata,
  tokenizer: string,
): { vocabulary: number; tokenAt: (index: number) => string } {
  const tokens =
    metadata.array('tokenizer.ggml.tokens', [valueTypes.string]) ?? refuse('KEY', 'tokenizer.ggml.tokens is missing');
  const vocabulary = tokens.length;
  if (vocabulary < 1 || vocabulary > limits.vocabulary) refuse('LIMIT', 'its vocabulary is empty or too large');
  const kinds = metadata.array('tokenizer.ggml.token_type', [valueTypes.int32]);
  const scores = metadata.array('tokenizer.ggml.scores', [valueTypes.float32, valueTypes.int32]);
  for (const list of [kinds, scores])
    if (list !== undefined && list.length !== vocabulary)
      refuse('KEY', 'a tokenizer list differs from the vocabulary in length');
  metadata.array('tokenizer.ggml.merges', [valueTypes.string]);

  // llama.cpp aborts if two tokens have the same name.
  const cursor = metadata.cursorAt(tokens.first);
  const names = new Set<string>();
  const kindCursor = kinds === undefined || namelessBytes.has(tokenizer) ? undefined : metadata.cursorAt(kinds.first);
  const offsets = new Float64Array(vocabulary);
  for (let i = 0; i < vocabulary; i += 1) {
    offsets[i] = cursor.offset;
    const length = cursor.count('the length of a token', limits.tokenBytes);
    const name = cursor.take(length).toString('latin1');
    names.add(name === '' ? `[EMPTY_${i}]` : name);
    if (kindCursor?.uint32() === byteKind && !byteName.test(name))
      refuse('KEY', 'the name of a byte token is not a byte');
  }
  if (names.size !== vocabulary) refuse('KEY', 'its vocabulary contains a token twice');
  if (tokenizer === 'llama') checkFallback(names);
  return {
    vocabulary,
    tokenAt: (index) => metadata.cursorAt(offsets[index] ?? 0).text('the length of a token', limits.tokenBytes),
  };
}

/** One file of a model. */
export type PartReader = { readonly readAt: ReadAt; readonly size: number };

type Opened = { readonly cursor: Cursor; readonly metadata: Metadata; readonly tensors: number };

/** Reads the start of a file: magic, version, number of tensors, metadata. */
function openPart({ readAt, size }: PartReader): Opened {
  const cursor = new Cursor(readAt, size);
  if (size < 24 || cursor.take(4).toString('latin1') !== 'GGUF') refuse('MAGIC', 'it does not start with GGUF');
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) refuse('VERSION', `its version is ${version}, not 2 or 3`);
  const tensors = cursor.count('the number of tensors', limits.tensors);
  const pairs = cursor.count('the number of metadata entries', limits.pairs);
  const metadata = new Metadata(readAt, size);
  for (let i = 0; i < pairs; i += 1) metadata.readPair(cursor);
  return { cursor, metadata, tensors };
}

/** Returns the alignment. With an alignment below 32, llama.cpp would read mapped weights unaligned. */
function alignmentOf(metadata: Metadata): number {
  const alignment = metadata.whole('general.alignment', 32, limits.alignment, 32);
  if ((alignment & (alignment - 1)) !== 0) refuse('ALIGNMENT', 'its alignment is not a power of two');
  return alignment;
}

/** Refuses a file that is not the expected part of the model. @throws `L4_GGUF_SPLIT` */
function checkSplit(metadata: Metadata, index: number, count: number): void {
  const split = (message: string, remedy: string) => new KwyreError('L4_GGUF_SPLIT', message, remedy);
  const named = metadata.whole('split.count', 0, 65_535, 0);
  if (named > 1 && count === 1)
    throw split(
      `the file is one of ${named} parts of a model`,
      'put all parts in one folder under their original names (NAME-00001-of-0000N.gguf), then add the first part',
    );
  if (Math.max(named, 1) !== count || metadata.whole('split.no', 0, 65_535, 0) !== index)
    throw split(
      `the file that should be part ${index + 1} of ${count} is a different part`,
      'download all parts of the model again from one source',
    );
}

/**
 * Parses and validates the headers of a model stored in one or more files, in order; the first file's metadata is used.
 * @throws `L4_GGUF_*`
 */
export function parseParts(parts: readonly PartReader[]): GgufFacts {
  const [first, ...others] = parts;
  if (first === undefined) bug('a model has no file');
  if (parts.length > mostParts)
    throw new KwyreError(
      'L4_GGUF_SPLIT',
      `the model is split into ${parts.length} files; at most ${mostParts} are supported`,
      'join some of them with llama-gguf-split, then add the model again',
    );
  const opened = openPart(first);
  checkSplit(opened.metadata, 0, parts.length);
  const tally: Tally = new Map();
  const facts = readFacts(first, opened, tally);
  let { tensors } = facts;
  others.forEach((part, index) => {
    const { cursor, metadata, tensors: own } = openPart(part);
    checkSplit(metadata, index + 1, parts.length);
    checkTensors(cursor, own, alignmentOf(metadata), part.size, tally);
    tensors += own;
  });
  if (others.length > 0 && opened.metadata.whole('split.tensors.count', 0, limits.tensors) !== tensors)
    refuse('SPLIT', 'the number of tensors in all parts differs from the one in the first part');
  const parameters = [...tally.values()].reduce((sum, count) => sum + count, 0);
  return { ...facts, tensors, parameters, quantisation: describeTypes(tally) };
}

/**
 * Parses and validates the header of a model in one file.
 * @throws `L4_GGUF_*`
 * @internal
 */
export function parseGguf(readAt: ReadAt, size: number): GgufFacts {
  return parseParts([{ readAt, size }]);
}

function readFacts(
  { size }: PartReader,
  { cursor, metadata, tensors }: Opened,
  tally: Tally,
): Omit<GgufFacts, 'parameters' | 'quantisation'> {
  const architecture = metadata.text('general.architecture');
  if (!/^[a-z0-9][a-z0-9_.-]{0,63}$/.test(architecture)) refuse('KEY', 'general.architecture is missing');
  const contextTokens = metadata.whole(`${architecture}.context_length`, 1, 1 << 26);
  const { cacheBytesPerToken, headSizes } = checkArchitecture(metadata, architecture);
  const tokenizer = metadata.text('tokenizer.ggml.model');
  if (tokenizer === '') refuse('KEY', 'tokenizer.ggml.model is missing');
  const { vocabulary, tokenAt } = checkVocabulary(metadata, tokenizer);
  checkTensors(cursor, tensors, alignmentOf(metadata), size, tally);
  const token = (key: string) => (metadata.has(key) ? tokenAt(metadata.whole(key, 0, vocabulary - 1)) : '');
  return {
    architecture,
    name: metadata.text('general.name').slice(0, 128),
    contextTokens,
    tensors,
    vocabulary,
    tokenizer,
    template: metadata.text('tokenizer.chat_template'),
    bos: token('tokenizer.ggml.bos_token_id'),
    eos: token('tokenizer.ggml.eos_token_id'),
    cacheBytesPerToken,
    headSizes,
  };
}
