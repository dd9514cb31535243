/** Random bytes: from the kernel, all of them, at any length. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillMemory, mapMemory, viewMemory } from '../../../src/linux/memory/mapped-memory.ts';
import { randomHex, randomMemory, randomOwn } from '../../../src/linux/memory/random.ts';

test('every byte is written, none beyond, and no two are alike', () => {
  const room = mapMemory(33 << 20);
  for (const bytes of [0, 1, 31, 32, 4097, (32 << 20) + 5]) {
    fillMemory(room, 33 << 20);
    randomMemory(room, bytes);
    const view = viewMemory(room, 33 << 20);
    assert.ok(
      view.subarray(bytes, bytes + 64).every((byte) => byte === 0),
      'none beyond',
    );
    if (bytes >= 32) assert.ok(new Set(view.subarray(bytes - 32, bytes)).size > 20, 'up to the last');
  }
  assert.equal(new Set(Array.from({ length: 1000 }, () => randomOwn(16).toString('hex'))).size, 1000);
  assert.match(randomHex(24), /^[0-9a-f]{24}$/);
});
