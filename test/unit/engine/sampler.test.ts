/** llama.cpp's samplers with the parameters of a request. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import fc from 'fast-check';
import type { LlamaModel } from '../../../src/engine/llama/model.ts';
import type { Sampling } from '../../../src/engine/types.ts';
import { tinyShape, writeModel } from '../../support/gguf.ts';
import { load, plainSampling, scratch } from '../../support/native.ts';

const folder = scratch();
let llama: LlamaModel;
before(async () => {
  writeModel(join(folder, 'noise.gguf'), tinyShape);
  llama = await load(join(folder, 'noise.gguf'));
  [72, 105].forEach((token, i) => llama.batch.add(token, i, 0, i === 1));
  assert.equal(await llama.decode(), 'done');
});

/** Samples `count` times from the logits of one step. */
function draw(changes: Partial<Sampling>, count = 1, seed = 1, prompt: readonly number[] = []): number[] {
  using sampler = llama.makeSampler({ ...plainSampling, ...changes }, seed, Int32Array.from(prompt));
  return Array.from({ length: count }, () => sampler.sample(1));
}

test('greedy takes the likeliest token, and a bias changes it', () => {
  const best = draw({})[0] ?? -1;
  assert.deepEqual(draw({}, 3), [best, best, best]);
  assert.notEqual(draw({ logitBias: [{ token: best, bias: -100 }] })[0], best);
  assert.equal(draw({ logitBias: [{ token: 7, bias: 100 }] })[0], 7);
  assert.equal(draw({ logitBias: [{ token: 1e6, bias: 100 }] })[0], best);
});

test('top_k leaves so many tokens', () => {
  for (const topK of [1, 2, 5]) assert.equal(new Set(draw({ temperature: 100, topK }, 400)).size, topK);
});

test('the same seed repeats, another one differs', () => {
  const hot = { temperature: 2 };
  assert.deepEqual(draw(hot, 30, 9), draw(hot, 30, 9));
  assert.notDeepEqual(draw(hot, 30, 9), draw(hot, 30, 10));
});

test('penalties make tokens less likely; the prompt counts for repetition only', () => {
  const best = draw({})[0] ?? -1;
  assert.deepEqual(new Set(draw({ presencePenalty: 2, frequencyPenalty: 2 }, 10)).size > 1, true);
  assert.notEqual(draw({ repeatPenalty: 2 }, 1, 1, [best])[0], best);
  assert.equal(draw({ presencePenalty: 2, frequencyPenalty: 2 }, 1, 1, [best])[0], best);
  assert.equal(draw({ repeatPenalty: 2, repeatLastN: 0 }, 1, 1, [best])[0], best, 'no lookback, no penalty');
  assert.equal(draw({ repeatPenalty: 2, repeatLastN: 1 }, 1, 1, [best, 5])[0], best, 'outside the lookback');
});

test('X-01: any permitted parameters yield a token of the vocabulary', () => {
  const numbers = fc.record({
    temperature: fc.oneof(fc.constantFrom(0, 1e-45, 1e-9, 1e-3, 2), fc.double({ min: 0, max: 2, noNaN: true })),
    topK: fc.oneof(fc.constantFrom(0, 1, 1_000_000), fc.nat(300)),
    topP: fc.oneof(fc.constantFrom(0, 1e-30, 1), fc.double({ min: 0, max: 1, noNaN: true })),
    minP: fc.oneof(fc.constantFrom(0, 1e-30, 1), fc.double({ min: 0, max: 1, noNaN: true })),
    repeatPenalty: fc.oneof(fc.constantFrom(0.01, 1, 2), fc.double({ min: 0.01, max: 2, noNaN: true })),
    presencePenalty: fc.double({ min: -2, max: 2, noNaN: true }),
    frequencyPenalty: fc.double({ min: -2, max: 2, noNaN: true }),
    repeatLastN: fc.oneof(fc.constantFrom(0, 1, 32_768), fc.nat(100)),
    logitBias: fc.array(
      fc.record({
        token: fc.nat(2 ** 31 - 1).map((n) => n % 300),
        bias: fc.double({ min: -100, max: 100, noNaN: true }),
      }),
      { maxLength: 300 },
    ),
  });
  fc.assert(
    fc.property(numbers, fc.nat(2 ** 32 - 1), (changes, seed) => {
      for (const token of draw(changes, 3, seed, [1, 2, 3])) assert.ok(token >= 0 && token < tinyShape.vocabulary);
    }),
    { numRuns: 400 },
  );
});
