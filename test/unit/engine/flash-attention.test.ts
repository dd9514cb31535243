/** Which models flash attention suits. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { suitsFlashAttention } from '../../../src/engine/llama/flash-attention.ts';
import { factsOf } from '../../support/facts.ts';
import { root } from '../../support/server.ts';

test('a tiny model whose heads fill no vector goes without it, as the guide does; every other has it', () => {
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
