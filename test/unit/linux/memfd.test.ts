/**
 * Sealed memory and leases on the real kernel.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeMemfd, sealMemfd, seals, sealsOf } from '../../../src/linux/memory/memfd.ts';
import { dropLease, leaseHolds, takeReadLease } from '../../../src/linux/files/file-lease.ts';
import { makeTree } from '../../support/trees.ts';

test('sealed memory cannot be written, grown, shrunk or unsealed, by any descriptor', () => {
  const fd = makeMemfd('test');
  fs.writeSync(fd, 'weights');
  sealMemfd(fd);
  assert.equal(sealsOf(fd) & 15, seals.seal | seals.shrink | seals.grow | seals.write);
  const code = (run: () => unknown) => assert.throws(run, { code: 'EPERM' });
  code(() => fs.writeSync(fd, 'x', 0));
  code(() => fs.ftruncateSync(fd, 1));
  code(() => fs.ftruncateSync(fd, 100));
  const again = fs.openSync(`/proc/self/fd/${fd}`, 'r+');
  code(() => fs.writeSync(again, 'x', 0));
  fs.closeSync(again);
  assert.equal(fs.readFileSync(`/proc/self/fd/${fd}`, 'utf8'), 'weights');
  fs.closeSync(fd);
});

test('a read lease is refused while there is a writer', () => {
  using tree = makeTree({ a: 'x' });
  const path = join(tree.path, 'a');
  const reader = fs.openSync(path, 'r');
  const writer = fs.openSync(path, 'r+');
  assert.equal(takeReadLease(reader), 'writer');
  fs.closeSync(writer);
  assert.equal(takeReadLease(reader), 'held');
  assert.ok(leaseHolds(reader));
  dropLease(reader);
  fs.closeSync(reader);
});
