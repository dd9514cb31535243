/**
 * `/proc/PID/stat`: names that imitate fields, kernel threads, arbitrary text.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseStat, processAge } from '../../../src/linux/procfs/task-stat.ts';

test('stat: a name with blanks, parentheses and a line feed is one field', () => {
  const line =
    '4711 (a) R 1 (\n b) T 77 4711 9508 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 1234103 3133440 382 18446744073709551615\n';
  assert.deepEqual(parseStat(line), {
    pid: 4711,
    name: 'a) R 1 (\n b',
    state: 'T',
    parent: 77,
    kernel: false,
    threads: 1,
    started: 1234103,
  });
});

test('stat: a kernel thread is told by its flag', () => {
  assert.equal(
    parseStat('2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0 18446744073709551615\n')?.kernel,
    true,
  );
});

test('stat: text of another form is refused', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (text) => {
      parseStat(text);
    }),
  );
  assert.equal(parseStat(''), undefined);
});

test('age: seconds since the process started, by the uptime of the machine', () => {
  const stat = `1 (a) S${' 0'.repeat(18)} 250 0 0\n`;
  assert.equal(processAge(stat, '10.50 3.00\n'), 8);
});
