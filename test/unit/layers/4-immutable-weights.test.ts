/**
 * One pass over weights: what is hashed is what is sealed, for any size and method.
 * @module
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { chooseMode, holdFile, loadSealed } from '../../../src/layers/4-model/immutable-weights.ts';
import { dropLease } from '../../../src/linux/files/file-lease.ts';
import { Hasher } from '../../../src/oms/tree-reader.ts';
import { codeOf, fault, makeTree } from '../../support/trees.ts';

const sum = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

for (const size of [0, 1, 4096, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 9_000_001]) {
  test(`${size} bytes: digest and sealed content agree, by files and by shards`, async () => {
    const data = randomBytes(size);
    using tree = makeTree({ w: data });
    const source = fs.openSync(join(tree.path, 'w'), 'r');
    const whole = await loadSealed(fs, source, size, undefined, fault);
    assert.equal(whole.hashed.digest, sum(data));
    assert.ok(fs.readFileSync(`/proc/self/fd/${whole.fd}`).equals(data));
    assert.throws(() => fs.writeSync(whole.fd, 'x', 0), { code: 'EPERM' });
    const parts = await loadSealed(fs, source, size, 1_000_000, fault);
    assert.deepEqual(parts.hashed, new Hasher(fs).shards(source, 1_000_000));
    for (const fd of [source, whole.fd, parts.fd]) fs.closeSync(fd);
  });
}

test('a file that is longer than it said is refused by its digest, and no more than its size is kept', async () => {
  using tree = makeTree({ w: Buffer.alloc(5000, 1) });
  const source = fs.openSync(join(tree.path, 'w'), 'r');
  const loaded = await loadSealed(fs, source, 4000, undefined, fault);
  assert.equal(loaded.hashed.size, 5000);
  assert.equal(fs.fstatSync(loaded.fd).size, 4000);
  for (const fd of [source, loaded.fd]) fs.closeSync(fd);
});

test('L4-09: a file that somebody holds open for writing is not served from the file', () => {
  using tree = makeTree({ w: 'weights' });
  const path = join(tree.path, 'w');
  const fd = fs.openSync(path, 'r');
  const writer = fs.openSync(path, 'r+');
  assert.equal(
    codeOf(() => holdFile(fs, fd, 'w', undefined, fault)),
    'L4_FILE_WRITER',
  );
  fs.closeSync(writer);
  const held = holdFile(fs, fd, 'w', undefined, fault);
  assert.equal(held.full, true);
  dropLease(fd);
  fs.closeSync(fd);
});

test('sealed memory is chosen when weights, a quarter more and a reserve fit', () => {
  assert.equal(chooseMode(2 ** 30, 2 * 2 ** 30), 'memfd');
  assert.equal(chooseMode(4 * 2 ** 30, 4 * 2 ** 30), 'file');
});
