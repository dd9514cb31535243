/** The default number of threads, and which models get flash attention. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { physicalCores, suitsFlashAttention, threadPlan } from '../../../src/engine/llama/cpu-plan.ts';
import { factsOf } from '../../support/facts.ts';
import { root } from '../../support/server.ts';

test('one thread for a tiny model, whatever the machine', () => {
  for (const cores of [1, 2, 4, 64]) assert.equal(threadPlan(cores, 2_660_000), 1);
});

test('at least one thread, at most one a core; from four cores on, one core stays free', () => {
  assert.deepEqual(
    [1, 2, 3, 4, 8, 64].map((cores) => threadPlan(cores, 7e9)),
    [1, 2, 3, 3, 7, 63],
  );
});

test('two threads of one core are one physical core', () => {
  assert.equal(physicalCores(['0,4\n', '1,5\n', '0,4\n', '1,5\n'], 4), 2);
  assert.equal(physicalCores(['0-1\n', '0-1\n'], 2), 1);
  assert.equal(physicalCores(['0\n', '1\n'], 2), 2);
});

test('only usable cores count; without a topology every logical core counts', () => {
  assert.equal(physicalCores(['0\n', '1\n', '2\n', '3\n'], 2), 2);
  assert.equal(physicalCores([], 6), 6);
  assert.equal(physicalCores([''], 0), 1);
});

test('flash attention is off for a tiny model with heads smaller than a vector, as the guide, and on for every other', () => {
  const tiny = 3e6;
  const large = 5e8;
  for (const headSizes of [
    [32, 32],
    [64, 32],
    [16, 64],
  ] as const) {
    assert.ok(!suitsFlashAttention({ headSizes, parameters: tiny }));
    assert.ok(suitsFlashAttention({ headSizes, parameters: large }));
  }
  for (const headSizes of [
    [64, 64],
    [80, 80],
    [96, 96],
    [128, 128],
    [576, 512],
  ] as const)
    assert.ok(suitsFlashAttention({ headSizes, parameters: tiny }));
  assert.ok(!suitsFlashAttention(factsOf(join(root, 'models', 'guide', 'guide.gguf'))));
});
