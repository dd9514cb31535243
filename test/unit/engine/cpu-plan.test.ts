/** The default number of threads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { physicalCores, threadPlan } from '../../../src/engine/llama/cpu-plan.ts';

test('one thread for a tiny model, whatever the machine', () => {
  for (const cores of [1, 2, 4, 64]) assert.equal(threadPlan(cores, 2_660_000), 1);
});

test('never more than there are cores, never none, and from four on one is left over', () => {
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

test('a process that may use fewer cores counts those; without a list every logical core counts', () => {
  assert.equal(physicalCores(['0\n', '1\n', '2\n', '3\n'], 2), 2);
  assert.equal(physicalCores([], 6), 6);
  assert.equal(physicalCores([''], 0), 1);
});
