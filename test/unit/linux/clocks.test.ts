import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs, runnableMs, runnableOf } from '../../../src/linux/clocks.ts';

test('a process that works has been runnable, one that is stopped has not', async (t) => {
  const work = () => spawn(process.execPath, ['-e', 'for (;;) Math.sqrt(2)'], { stdio: 'ignore' });
  const [busy, stopped] = [work(), work()];
  t.after(() => {
    for (const child of [busy, stopped]) child.kill('SIGKILL');
  });
  await sleep(500);
  stopped.kill('SIGSTOP');
  await sleep(200);
  const before = [monotonicMs(), runnableOf(busy.pid!), runnableOf(stopped.pid!)] as const;
  await sleep(1000);
  const passed = monotonicMs() - before[0];
  assert.ok(runnableOf(busy.pid!) - before[1] > passed - 200, 'on a busy machine too');
  assert.ok(runnableOf(stopped.pid!) - before[2] < 100);
});

test('texts that are not of that form count nothing', () => {
  assert.deepEqual(
    [runnableMs('2000000 3000000 7\n'), runnableMs(''), runnableMs('x 1 2'), runnableOf(0)],
    [5, 0, 0, 0],
  );
});
