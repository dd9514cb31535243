/**
 * Links of `/proc/PID/fd`.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryNamed, socketInode } from '../../../src/linux/procfs/descriptors.ts';

test('links: sockets and memory, and nothing that only looks like them', () => {
  assert.equal(socketInode('socket:[1684]'), 1684);
  assert.equal(socketInode('pipe:[1684]'), undefined);
  assert.deepEqual(memoryNamed('/proc/812/mem'), { id: 812, tail: '/812/mem' });
  assert.deepEqual(memoryNamed('/proc/812/task/815/mem'), { id: 812, tail: '/812/task/815/mem' });
  assert.equal(memoryNamed('/mnt/other-proc/812/mem')?.id, 812);
  assert.equal(memoryNamed('/home/a/812/mem')?.id, 812, 'a name is all that it is');
  assert.equal(memoryNamed('/proc/812/memory'), undefined);
  assert.equal(memoryNamed('/proc/meminfo'), undefined);
});
