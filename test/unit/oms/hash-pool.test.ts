/**
 * Hashing on several threads gives what hashing on one gives; what cannot be read has no digest.
 * @module
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hashJobs } from '../../../src/oms/hash-pool.ts';
import { collectResults, makeQueue } from '../../../src/oms/hash-queue.ts';
import { makeTree } from '../../support/trees.ts';

test('digests by path, by two threads and by one', () => {
  const content = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [`f${i}`, Buffer.alloc((i * 7919) % 600_000, i)]),
  );
  using tree = makeTree(content);
  fs.symlinkSync(join(tree.path, 'f0'), join(tree.path, 'link'));
  const jobs = [...Object.keys(content), 'link', 'absent'].map((name) => ({ path: join(tree.path, name) }));
  const expected = [
    ...Object.values(content).map((bytes) => ({ digest: hash('sha256', bytes, 'hex'), size: bytes.length })),
    undefined,
    undefined,
  ];
  assert.deepEqual(hashJobs(fs, jobs, 1 << 30, 2), expected);
  assert.deepEqual(hashJobs(fs, jobs, 1 << 30, 1), expected);
});

test('ranges of one descriptor', () => {
  using tree = makeTree({ w: Buffer.alloc(1_000_000, 5) });
  const fd = fs.openSync(join(tree.path, 'w'), 'r');
  const results = hashJobs(
    fs,
    [
      { fd, start: 0, end: 600_000 },
      { fd, start: 600_000, end: 1_200_000 },
    ],
    1 << 30,
    2,
  );
  assert.deepEqual(results, [
    { digest: hash('sha256', Buffer.alloc(600_000, 5), 'hex'), size: 600_000 },
    { digest: hash('sha256', Buffer.alloc(400_000, 5), 'hex'), size: 400_000 },
  ]);
  fs.closeSync(fd);
});

test('a job that nobody finished has no digest', () => {
  assert.deepEqual(collectResults(makeQueue([{ path: '/' }]), 10), [undefined]);
});
