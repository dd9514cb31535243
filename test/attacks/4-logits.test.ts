/**
 * Layer 4: what happens to the file while and after it is loaded never changes an answer. Judged by the logits
 * themselves, bit for bit over several steps with the same tokens, beside llama.cpp on a path that nobody holds.
 * @module
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { Batch } from '../../src/engine/llama/batch.ts';
import { flashAttention, loadModes } from '../../src/engine/llama/abi.ts';
import type { Pointer } from '../../src/engine/llama/bindings.ts';
import { holdFile, loadSealed } from '../../src/layers/4-model/immutable-weights.ts';
import { dropLease } from '../../src/linux/files/file-lease.ts';
import { ffi } from '../../src/linux/ffi.ts';
import { libraryDirectory } from '../support/engine.ts';
import { factsOf } from '../support/facts.ts';
import { scratch, sharedLibrary } from '../support/native.ts';
import { root } from '../support/server.ts';
import { fault } from '../support/trees.ts';

const original = join(root, 'models', 'guide', 'guide.gguf');
const { bytes: size, vocabulary } = factsOf(original);
const folder = scratch();
const path = join(folder, 'model.gguf');
const logitsAt = ffi
  .load(join(libraryDirectory, 'libllama.v0.5.0.so'))
  .func('void *llama_get_logits_ith(void *context, int32_t index)') as (context: Pointer, index: number) => Pointer;

/**
 * Logits after a prompt and after each of six further tokens, chosen greedily; `attack` comes between load and context
 * and before each step.
 */
function logits(from: string, attack: () => void = () => undefined): Buffer {
  const { calls } = sharedLibrary();
  const model = calls.modelLoad([from], 1, { ...calls.modelDefaults(), n_gpu_layers: 0, load_mode: loadModes.mmap });
  assert.ok(model !== null, 'the model loads');
  attack();
  const context = calls.contextInit(model, {
    ...calls.contextDefaults(),
    n_ctx: 64,
    n_batch: 16,
    n_ubatch: 16,
    n_threads: 1,
    n_threads_batch: 1,
    flash_attn_type: flashAttention.off,
  });
  assert.ok(context !== null);
  try {
    const batch = new Batch(16);
    const steps: Buffer[] = [];
    let next = [11, 300, 7, 42, 901];
    for (let position = 0; steps.length < 7;) {
      attack();
      for (const [i, token] of next.entries()) batch.add(token, position + i, 0, i === next.length - 1);
      assert.equal(calls.decode(context, batch.struct), 0);
      const view = Buffer.from(ffi.view(logitsAt(context, batch.count - 1), 4 * vocabulary));
      const step = Buffer.from(view); // llama.cpp's own memory: the next step overwrites it
      steps.push(step);
      position += next.length;
      batch.clear();
      const values = new Float32Array(step.buffer, step.byteOffset, vocabulary);
      next = [values.reduce((best, value, token) => (value > values[best]! ? token : best), 0)];
    }
    return Buffer.concat(steps);
  } finally {
    calls.contextFree(context);
    calls.modelFree(model);
  }
}

/** Opens for writing without waiting for a lease. */
const openNow = (flags = 0) => fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK | flags);

/** Turns every bit of a piece of the file. */
function edit(from: number, length: number): void {
  const fd = openNow();
  try {
    const bytes = Buffer.alloc(length);
    fs.readSync(fd, bytes, 0, length, from);
    fs.writeSync(
      fd,
      bytes.map((byte) => ~byte),
      0,
      length,
      from,
    );
  } finally {
    fs.closeSync(fd);
  }
}

/** What may be done to a file that somebody serves. */
const attacks = {
  swapped() {
    const other = join(folder, 'other.gguf');
    fs.writeFileSync(
      other,
      fs.readFileSync(original).map((byte, i) => (i > size / 2 ? ~byte : byte)),
    );
    fs.renameSync(other, path);
  },
  edited: () => {
    edit(size >> 1, size >> 2);
  },
  truncated: () => {
    fs.closeSync(openNow(fs.constants.O_TRUNC));
  },
  removed: () => {
    fs.rmSync(path, { force: true });
  },
} as const;

// Without a listener the kernel's word that somebody wants to write a leased file would end this process.
process.on('SIGIO', () => undefined);

let expected: Buffer = Buffer.alloc(0);
before(() => {
  fs.copyFileSync(original, path);
  expected = logits(path);
  assert.equal(expected.length, 7 * 4 * vocabulary);
  assert.ok(
    new Set(new Float32Array(expected.buffer, expected.byteOffset, vocabulary)).size > vocabulary / 2,
    'logits, not a constant',
  );
  assert.ok(expected.equals(logits(path)), 'two runs agree bit for bit');
});

test('control: llama.cpp on the path itself answers otherwise once the file is edited', () => {
  fs.copyFileSync(original, path);
  assert.ok(!expected.equals(logits(path, once(attacks.edited))));
});

/** The digest of what is at the path now; empty where nothing is. */
const digestNow = () => (fs.existsSync(path) ? createHash('sha256').update(fs.readFileSync(path)).digest('hex') : '');

/** The same, but only the first time. */
function once(attack: () => void): () => void {
  let done = false;
  return () => {
    if (!done) attack();
    done = true;
  };
}

/** The model's file as it was published, open for reading. */
function freshFile(): number {
  fs.rmSync(path, { force: true });
  fs.copyFileSync(original, path);
  return fs.openSync(path, 'r');
}

for (const [name, attack] of Object.entries(attacks)) {
  test(`L4-08 L4-09 sealed memory: the file ${name} after it was loaded, the same logits`, async () => {
    const source = freshFile();
    const weights = await loadSealed(fs, source, size, undefined, fault);
    assert.ok(expected.equals(logits(`/proc/self/fd/${weights.fd}`, once(attack))));
    assert.notEqual(digestNow(), weights.hashed.digest, 'the attack came about');
    for (const fd of [source, weights.fd]) fs.closeSync(fd);
  });

  const inPlace = name === 'edited' || name === 'truncated';
  test(`L4-08 L4-09 the file under a read lease: ${inPlace ? `not ${name}` : `${name}, the same logits`}`, () => {
    const fd = freshFile();
    const weights = holdFile(fs, fd, 'model.gguf', undefined, fault);
    assert.ok(weights.full, weights.kept);
    const tried = once(
      inPlace
        ? () => {
            assert.throws(attack, { code: 'EAGAIN' }, 'the lease holds the writer up');
          }
        : attack,
    );
    assert.ok(expected.equals(logits(`/proc/self/fd/${fd}`, tried)));
    assert.equal(digestNow() === weights.hashed.digest, inPlace);
    dropLease(fd);
    fs.closeSync(fd);
  });
}

for (const [where, from, sound] of [
  ['what was read already changes nothing', 1 << 20, true],
  ['what was not changes the digest', size - (64 << 10), false],
] as const) {
  test(`L4-08 the file edited while it is loaded: ${where}`, async () => {
    const source = freshFile();
    const digest = digestNow();
    const weights = await loadSealed(
      fs,
      source,
      size,
      undefined,
      fault,
      once(() => {
        edit(from, 32 << 10);
      }),
    );
    assert.notEqual(digestNow(), digest, 'the attack came about');
    assert.equal(weights.hashed.digest === digest, sound);
    if (sound) assert.ok(expected.equals(logits(`/proc/self/fd/${weights.fd}`)));
    for (const fd of [source, weights.fd]) fs.closeSync(fd);
  });
}
