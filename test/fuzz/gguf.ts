/**
 * Throws mutated headers at the GGUF reader, for a bounded number of rounds.
 *
 *   test/run fuzz gguf [rounds, 1000000] [seed]
 *
 * A round fails when anything but a coded refusal comes out, when accepted facts leave their limits, or when one header
 * takes more than two seconds of processor time; the whole run fails when its memory grows. The same seed gives the
 * same headers.
 * @module
 */
import assert from 'node:assert/strict';
import { KwyreError } from '../../src/base/errors.ts';
import { parseGguf } from '../../src/layers/4-model/gguf-header.ts';
import type { Value } from '../support/gguf.ts';
import { header, llamaModel, tensorBytes, tinyShape, withMetadata } from '../support/gguf.ts';
import { Random, readRounds } from './random.ts';

const { rounds, seed } = readRounds(3, 1_000_000, 'test/run fuzz gguf');
const { below, pick } = new Random(seed);

const model = llamaModel({ ...tinyShape, vocabulary: 259 });
const short = {
  'tokenizer.ggml.tokens': { texts: ['a', 'b', '<s>', '</s>'] },
  'tokenizer.ggml.token_type': { i32s: [1, 1, 3, 3] },
  'tokenizer.ggml.bos_token_id': { u32: 2 },
  'tokenizer.ggml.eos_token_id': { u32: 3 },
} satisfies Record<string, Value>;
/** Headers to begin from: a small one most of the time, so that a change hits something that counts. */
const seeds = [
  withMetadata(model, short),
  withMetadata(model, {
    ...short,
    'llama.expert_count': { u32: 8 },
    'llama.expert_used_count': { u32: 2 },
    'general.alignment': { u32: 64 },
  }),
  withMetadata(model, { ...short, 'llama.ssm.state_size': { u32: 16 }, 'llama.rope.scaling.type': { text: 'yarn' } }),
  model,
].map(({ metadata, tensors }) => {
  const data = tensors.reduce((sum, tensor) => sum + Math.ceil(tensorBytes(tensor) / 32) * 32, 0);
  const bytes = header(metadata, tensors);
  return { bytes, size: bytes.length + data };
});

const wide = [
  0n,
  1n,
  2n,
  31n,
  32n,
  255n,
  65_536n,
  2n ** 20n,
  2n ** 22n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 62n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 32n,
  2n ** 64n - 1n,
];

function mutate(source: Buffer): Buffer {
  let bytes = Buffer.from(source);
  for (let i = pick([0, 0, 0, 1, 2, 5]); i >= 0; i -= 1) {
    const at = below(bytes.length);
    const to = Math.min(bytes.length, at + 1 + below(24));
    switch (below(10)) {
      case 0:
        if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(pick(wide), at);
        break;
      case 1:
        if (at + 4 <= bytes.length) bytes.writeUInt32LE(Number(pick(wide) & 0xffffffffn), at);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at, to), bytes.subarray(to)]);
        break;
      case 4:
        if (below(8) === 0) bytes = bytes.subarray(0, Math.max(1, at));
        else bytes[at] = below(256);
        break;
      case 5: {
        // The counts at the very beginning.
        const offset = pick([4, 8, 16]);
        if (offset + 8 <= bytes.length) bytes.writeBigUInt64LE(pick([...wide, 3n, 19n, 20n, 21n, 22n]), offset);
        break;
      }
      case 6:
        bytes.copy(bytes, below(bytes.length), at, to);
        break;
      default:
        bytes[at]! ^= 1 << below(8);
    }
    if (bytes.length === 0) bytes = Buffer.from('G');
  }
  return bytes;
}

const refusals = new Map<string, number>();
let accepted = 0;
let slowest = 0;
let highest = 0;
console.log(`seed ${seed}`);
const started = performance.now();
for (let round = 0; round < rounds; round += 1) {
  const from = seeds[below(16)] ?? seeds[0]!;
  const input = mutate(from.bytes);
  const size = below(16) === 0 ? below(from.size + 64) : from.size - from.bytes.length + input.length;
  const before = process.threadCpuUsage().user;
  try {
    // The weights behind the header are zeros that nobody reads.
    const facts = parseGguf((offset, length) => {
      assert.ok(offset >= 0 && length >= 0 && offset + length <= size, 'a read beyond the end');
      if (offset + length <= input.length) return input.subarray(offset, offset + length);
      return Buffer.concat([
        input.subarray(Math.min(offset, input.length)),
        Buffer.alloc(Math.min(length, offset + length - input.length)),
      ]).subarray(0, length);
    }, size);
    assert.ok(
      facts.parameters > 0 &&
        facts.parameters <= size * 8 &&
        facts.contextTokens >= 1 &&
        facts.vocabulary >= 1 &&
        Number.isSafeInteger(facts.cacheBytesPerToken),
    );
    assert.ok(facts.template.length <= 1 << 20 && facts.name.length <= 128);
    accepted += 1;
  } catch (error) {
    if (!(error instanceof KwyreError) || !error.code.startsWith('L4_GGUF_')) {
      console.error(`round ${round} of seed ${seed}: ${input.toString('base64')}`);
      throw error;
    }
    refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1);
  }
  const took = (process.threadCpuUsage().user - before) / 1000;
  slowest = Math.max(slowest, took);
  if (took > 2000)
    throw new Error(`round ${round} of seed ${seed} took ${took.toFixed(0)} ms: ${input.toString('base64')}`);
  if (round % 10_000 === 0) highest = Math.max(highest, process.memoryUsage.rss());
}
const memory = highest / 2 ** 20;
console.log(
  `${rounds} headers in ${((performance.now() - started) / 1000).toFixed(1)} s: ${accepted} accepted, refused ${[
    ...refusals,
  ]
    .sort(([, a], [, b]) => b - a)
    .map(([code, count]) => `${code} ${count}`)
    .join(', ')}; slowest ${slowest.toFixed(0)} ms, at most ${memory.toFixed(0)} MiB`,
);
if (memory > 1024) throw new Error('the memory grew');
