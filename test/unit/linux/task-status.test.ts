/**
 * `/proc/PID/status`: recorded processes and arbitrary text.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseStatus, parseThread, statusField } from '../../../src/linux/procfs/task-status.ts';

const vectors = join(import.meta.dirname, '..', '..', 'vectors', 'proc');
const read = (name: string): string => readFileSync(join(vectors, name), 'latin1');

test('status: a process under gdb, as recorded', () => {
  const status = parseStatus(read('status-traced.txt'))!;
  assert.equal(status.state, 't');
  assert.ok(status.tracer > 0);
  assert.deepEqual(parseThread(read('status-traced.txt')), { state: 't', tracer: status.tracer });
});

test('status: an ordinary process, as recorded', () => {
  const status = parseStatus(read('status-plain.txt'))!;
  assert.equal(status.tracer, 0);
  assert.equal(status.uids.length, 4);
});

test('status: text of another form is refused', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (text) => {
      assert.ok(parseStatus(text) === undefined || text.includes('TracerPid'));
    }),
  );
  assert.equal(parseStatus(''), undefined);
});

test('status: a field is found at the start of a line only, the first line included', () => {
  const text = 'Name:\tUid: 5\\nUid:\t7\nUid:\t1\t2\t3\t4\nGroups:\t \nSeccomp_filters:\t2';
  assert.equal(statusField(text, 'Uid'), '1\t2\t3\t4');
  assert.equal(statusField(text, 'Name'), 'Uid: 5\\nUid:\t7');
  assert.equal(statusField(text, 'Groups'), '');
  assert.equal(statusField(text, 'Seccomp_filters'), '2');
  assert.equal(statusField(text, 'Seccomp'), '');
});
