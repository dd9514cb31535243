/**
 * Layer 5 when a process is killed in the middle of an answer: what must end ends, nobody waits, nothing is left.
 * Needs root: reads the memory of processes that are not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killMany } from '../support/kills.ts';
import { assertWithin } from '../support/time-bounds.ts';

test('L5-14 L5-11 SIGKILL of each process in turn, 8 times in the middle of two answers', async (t) => {
  const told = await killMany(8);
  t.diagnostic(JSON.stringify(told));
  assert.deepEqual(told.wrong, []);
  assert.deepEqual([told.kills, told.hung, told.found, told.restarted, told.overwritten], [8, 0, 0, 6, 7]);
  assert.ok(told.words >= 4, 'the control: words of running turns stand in the working set');
  assertWithin('the end of what must end', told.slowestEndMs, 1000);
});
