/** The working set: pieces apart from one another, zero when given out, back only when nobody can see them. */
import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { setImmediate as soon } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { contentBytes, makeWorkingMemory, overwriteWorkingMemory } from '../../../src/layers/5-memory/memory-scrub.ts';
import { WorkingSet } from '../../../src/layers/5-memory/working-set.ts';
import { makeFixedMemory } from '../../../src/linux/memory/memfd.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Lets everything that nobody can reach come back. */
async function collected(): Promise<void> {
  for (let i = 0; i < 3; i += 1) {
    collect();
    await soon();
  }
}

const mib = 1 << 20;

function open(bytes = 64 * mib): { set: WorkingSet; fd: number; [Symbol.dispose](): void } {
  const fd = makeFixedMemory('test', bytes);
  return {
    set: WorkingSet.open(fd, bytes),
    fd,
    [Symbol.dispose]: () => {
      closeSync(fd);
    },
  };
}

test('property: pieces that live at a time are apart, and each is zero when it is given out', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: 1, max: 700_000 }), fc.constant('release' as const)), { maxLength: 60 }),
      (steps) => {
        using opened = open(256 * mib);
        const { set } = opened;
        const live: { piece: ReturnType<WorkingSet['claim']>; view: Buffer; mark: number }[] = [];
        steps.forEach((step, mark) => {
          if (step === 'release') {
            const [oldest] = live.splice(0, 1);
            if (oldest !== undefined) set.release(oldest.piece);
            return;
          }
          const piece = set.claim(step);
          const view = Buffer.alloc(step);
          readSync(opened.fd, view, 0, step, piece.at);
          assert.ok(view.every((byte) => byte === 0));
          writeSync(opened.fd, view.fill((mark % 255) + 1), 0, step, piece.at);
          live.push({ piece, view, mark });
        });
        for (const { piece, view } of live) {
          const now = Buffer.alloc(view.length);
          readSync(opened.fd, now, 0, now.length, piece.at);
          assert.ok(now.equals(view), 'nobody else wrote there');
        }
      },
    ),
    { numRuns: 30 },
  );
});

test('a place comes back when no view of it is left, overwritten, and not before', async () => {
  using opened = open();
  const { set, fd } = opened;
  const words = Buffer.from('words of an ended conversation');
  let slice: Buffer | undefined = (() => {
    const whole = Buffer.from(set.memory(100));
    whole.set(words, 40);
    return whole.subarray(40, 40 + words.length);
  })();
  await collected();
  assert.ok(slice.equals(words), 'a view of a part keeps the whole');
  const used = set.usedBytes;
  Buffer.from(set.memory(100)).set(words);
  assert.ok(set.usedBytes > used, 'its place is not given out meanwhile');
  slice = undefined;
  await collected();
  const content = Buffer.alloc(4096);
  readSync(fd, content, 0, content.length, 0);
  assert.ok(!content.includes(words), 'overwritten, though nobody asked for it');
  const before = set.usedBytes;
  for (const memory of [set.memory(100), set.memory(90)]) assert.ok(Buffer.from(memory).every((byte) => byte === 0));
  assert.equal(set.usedBytes, before, 'both places are used again');
});

test('large pieces give their pages back; what is full says so', async () => {
  using opened = open(16 * mib);
  const { set, fd } = opened;
  const base = contentBytes(fd);
  Buffer.from(set.memory(4 * mib)).fill(1);
  assert.ok(contentBytes(fd) >= base + 4 * mib);
  await collected();
  assert.equal(contentBytes(fd), base);
  set.claim(8 * mib);
  assert.throws(() => set.claim(8 * mib), { code: 'ENOMEM' });
});

test('what has content is overwritten with random bytes; nobody changes the size', () => {
  const fd = makeWorkingMemory(1 << 30);
  for (const size of [0, 1 << 20, 2 ** 40])
    assert.throws(
      () => {
        ftruncateSync(fd, size);
      },
      { code: 'EPERM' },
    );
  const words = Buffer.alloc(3 * mib + 5000, 'words ');
  writeSync(fd, words, 0, words.length, 4096);
  writeSync(fd, words, 0, 10, 700 * mib);
  const bytes = contentBytes(fd);
  assert.equal(overwriteWorkingMemory(fd), bytes);
  const now = Buffer.alloc(words.length);
  for (const [at, length] of [
    [4096, words.length],
    [700 * mib, 10],
  ] as const) {
    readSync(fd, now, 0, length, at);
    assert.ok(!now.subarray(0, length).includes('words'));
    assert.ok(new Set(now.subarray(0, length)).size > 5, 'no constant');
  }
  closeSync(fd);
});
