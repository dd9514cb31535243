/** Which heads flash attention suits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { suitsFlashAttention } from '../../../src/engine/attention.ts';

test('only heads that fill whole vectors get flash attention: keys and values alike', () => {
  for (const sizes of [[64, 64], [128, 128], [256, 256], [576, 512]] as const) assert.ok(suitsFlashAttention(sizes));
  for (const sizes of [[32, 32], [80, 80], [96, 96], [64, 32], [100, 128]] as const) assert.ok(!suitsFlashAttention(sizes));
});
