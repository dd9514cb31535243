/**
 * The tensor table of a GGUF file: names, shapes, types and data offsets.
 *
 * Promise: the data of every tensor is aligned and inside the file, and does not overlap another tensor. Products of
 *          dimensions are computed without overflow.
 * Trust:   the file is untrusted.
 * Source:  https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3), `ggml_type_size` of ggml 0.25
 * Proof:   test/unit/layers/4-gguf-header.test.ts
 * @module
 */
import type { Cursor } from './gguf-metadata.ts';
import { limits, refuse } from './gguf-metadata.ts';

/** Elements and bytes per block, by tensor type; other types are refused. */
const blocks: Readonly<Record<number, readonly [elements: number, bytes: number]>> = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  3: [32, 20],
  6: [32, 22],
  7: [32, 24],
  8: [32, 34],
  9: [32, 36],
  10: [256, 84],
  11: [256, 110],
  12: [256, 144],
  13: [256, 176],
  14: [256, 210],
  15: [256, 292],
  16: [256, 66],
  17: [256, 74],
  18: [256, 98],
  19: [256, 50],
  20: [32, 18],
  21: [256, 110],
  22: [256, 82],
  23: [256, 136],
  24: [1, 1],
  25: [1, 2],
  26: [1, 4],
  27: [1, 8],
  28: [1, 8],
  29: [256, 56],
  30: [1, 2],
  34: [256, 54],
  35: [256, 66],
  39: [32, 17],
  40: [64, 36],
  41: [128, 18],
  42: [64, 18],
};
const float32 = 0;
/** Display names of the types. */
const typeNames: Readonly<Record<number, string>> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  6: 'Q5_0',
  7: 'Q5_1',
  8: 'Q8_0',
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  12: 'Q4_K',
  13: 'Q5_K',
  14: 'Q6_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  30: 'BF16',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
  40: 'NVFP4',
};

/** Number of parameters by type name. */
export type Tally = Map<string, number>;

/** Returns the types of the weights with their shares, the most common first: `Q4_K 86 %, Q6_K 13 %, F32 1 %`. */
export function describeTypes(tally: Tally): string {
  const all = [...tally.values()].reduce((sum, count) => sum + count, 0);
  const share = (count: number) => (count * 100 < all ? 'under 1 %' : `${Math.floor((count * 100) / all)} %`);
  return [...tally]
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${share(count)}`)
    .join(', ');
}

type Region = { readonly from: number; readonly to: number };

/** Reads one entry: number of elements, type, and the data's position relative to the data section. */
function readTensor(
  cursor: Cursor,
  names: Set<string>,
  alignment: number,
  size: number,
): { elements: number; type: number; region: Region } {
  const name = cursor.text('the length of a tensor name', limits.nameBytes);
  if (name === '' || names.has(name)) refuse('TENSOR', 'a tensor has no name or a duplicate name');
  names.add(name);
  const rank = cursor.uint32();
  if (rank < 1 || rank > 4) refuse('TENSOR', 'a tensor does not have one to four dimensions');
  let elements = 1n;
  let row = 0;
  for (let d = 0; d < rank; d += 1) {
    const extent = cursor.count('a dimension', Number.MAX_SAFE_INTEGER);
    if (extent < 1) refuse('TENSOR', 'a dimension is zero');
    if (d === 0) row = extent;
    elements *= BigInt(extent);
  }
  const type = cursor.uint32();
  const [perBlock, blockBytes] = blocks[type] ?? refuse('TENSOR', 'a tensor has an unknown type');
  // llama.cpp aborts if norm weights have another type.
  if (/(^|[._])norm\.weight$/.test(name) && type !== float32)
    refuse('TENSOR', 'the weights of a norm are not 32-bit floats');
  if (row % perBlock !== 0) refuse('TENSOR', 'the row length of a tensor is not a multiple of its block size');
  const offset = cursor.count('the offset of a tensor', Number.MAX_SAFE_INTEGER);
  if (offset % alignment !== 0) refuse('TENSOR', 'the data of a tensor is not aligned');
  const bytes = (elements / BigInt(perBlock)) * BigInt(blockBytes);
  if (bytes > BigInt(size)) refuse('TENSOR', 'a tensor is larger than the file');
  return { elements: Number(elements), type, region: { from: offset, to: offset + Number(bytes) } };
}

/**
 * Validates the table and adds its parameters to the tally.
 * @throws `L4_GGUF_*`
 */
export function checkTensors(cursor: Cursor, count: number, alignment: number, size: number, tally: Tally): void {
  if (count === 0) refuse('TENSOR', 'it contains no tensors');
  const names = new Set<string>();
  const regions: Region[] = [];
  for (let i = 0; i < count; i += 1) {
    const { elements, type, region } = readTensor(cursor, names, alignment, size);
    const known = typeNames[type] ?? `type ${type}`;
    tally.set(known, (tally.get(known) ?? 0) + elements);
    regions.push(region);
  }
  const data = Math.ceil(cursor.offset / alignment) * alignment;
  regions.sort((a, b) => a.from - b.from);
  let end = 0;
  for (const { from, to } of regions) {
    if (from < end) refuse('TENSOR', 'the data of two tensors overlaps');
    if (data + to > size) refuse('TENSOR', 'the data of a tensor exceeds the file');
    end = to;
  }
}
