/** Plaintext memory is zero-filled and in no shared pool. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  constantBytes,
  copyBytes,
  copyPlaintext,
  unpooledBytes,
  wipeBytes,
  plaintextBytes,
} from '../../../src/base/bytes.ts';
import { ByteWriter } from '../../../src/engine/bytes/byte-writer.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const sizes = [0, 1, 16, 64, 65, 1000, 4096, 70_000, 1 << 20];
const words = Buffer.from('words of somebody ');

/** Leaves text all over the memory that the next allocations are likely to get, also in Node's pool. */
function soil(): void {
  for (let round = 0; round < 20; round += 1)
    for (const size of sizes)
      for (const memory of [new Uint8Array(size), Buffer.allocUnsafe(size), Buffer.allocUnsafeSlow(size)])
        memory.fill(words[round % words.length]!);
  Buffer.from(words);
  collect();
}

/** Whether Node would return that memory with its old content: the control. */
const unclean = () => sizes.some((size) => Buffer.allocUnsafeSlow(size).some((byte) => byte !== 0));

test('L5-28 plaintext memory is zero-filled after reuse and in no pool', () => {
  let dirty = false;
  for (let round = 0; round < 20; round += 1) {
    soil();
    dirty ||= unclean();
    for (const size of sizes) {
      for (const bytes of [unpooledBytes(size), plaintextBytes(size)]) {
        assert.ok(
          bytes.every((byte) => byte === 0),
          `${size} bytes`,
        );
        assert.deepEqual([bytes.byteOffset, bytes.buffer.byteLength], [0, size]);
      }
    }
    for (const copy of [copyBytes(words), copyPlaintext(words), constantBytes(words.toString())]) {
      assert.ok(copy.equals(words));
      assert.deepEqual([copy.byteOffset, copy.buffer.byteLength], [0, words.length]);
      wipeBytes(copy);
      assert.ok(copy.every((byte) => byte === 0));
    }
  }
  assert.ok(dirty, 'the control: uncleared memory shows its old content');
});

test('L5-28 a growing writer holds what was written and nothing else', () => {
  soil();
  const writer = new ByteWriter(16);
  for (let i = 0; i < 500; i += 1) writer.bytes(words);
  const view = writer.view();
  assert.equal(view.toString(), words.toString().repeat(500));
  assert.ok(
    Buffer.from(view.buffer)
      .subarray(view.byteOffset + view.length)
      .every((byte) => byte === 0),
  );
  writer[Symbol.dispose]();
  assert.ok(view.every((byte) => byte === 0));
});
