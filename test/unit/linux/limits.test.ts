/**
 * The limit of open files, as the kernel writes it.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openFilesOf } from '../../../src/linux/procfs/limits.ts';

test('the limit of open files of this process, of a made one, and without one', () => {
  const own = openFilesOf(readFileSync('/proc/self/limits', 'latin1'));
  assert.ok(own.soft > 0 && own.hard >= own.soft);
  assert.deepEqual(
    openFilesOf(
      'Limit                     Soft Limit           Hard Limit           Units     \nMax open files            64                   4096                 files     \n',
    ),
    { soft: 64, hard: 4096 },
  );
  assert.deepEqual(openFilesOf('Max open files            unlimited            unlimited            files     \n'), {
    soft: Infinity,
    hard: Infinity,
  });
  assert.deepEqual(openFilesOf(''), { soft: Infinity, hard: Infinity });
});
