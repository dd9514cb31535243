/** What native calls leave on their stack: it is there, and it is gone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { libc } from '../../../src/linux/ffi.ts';
import type { Address } from '../../../src/linux/memory/mapped-memory.ts';
import { fillMemory, mapMemory, viewMemory } from '../../../src/linux/memory/mapped-memory.ts';
import { cleanseStack, frameBytes, stackBytes, stackPointer } from '../../../src/linux/memory/native-stack.ts';

const sort = libc.func('void qsort(void *base, size_t count, size_t size, void *compare)') as (
  base: Address,
  count: number,
  size: number,
  compare: Address,
) => void;

test('what a native call left on its stack is zeros afterwards, and the stack is used again', () => {
  const items = mapMemory(4096);
  const compare = libc.symbol('strcmp') as Address;
  const leave = () => {
    viewMemory(items, 480).write('words of a conversation'.repeat(20));
    sort(items, 15, 32, compare); // the C library sorts in its own variables
    fillMemory(items, 4096);
  };
  const left = () => viewMemory(stackPointer() - BigInt(stackBytes), stackBytes);
  for (let i = 0; i < 3; i += 1) {
    leave();
    assert.ok(left().includes('words of a conv'), 'the control: the call left its variables there');
    cleanseStack();
    assert.ok(
      left()
        .subarray(0, stackBytes - frameBytes)
        .every((byte) => byte === 0),
    );
    assert.equal(left().indexOf('words of a conv'), -1);
  }
});
