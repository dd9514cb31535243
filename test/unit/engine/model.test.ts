/** llama.cpp through its C API: version, ABI, steps. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import type { LlamaModel } from '../../../src/engine/llama/model.ts';
import { expectedDefaults, structSizes } from '../../../src/engine/llama/abi.ts';
import { ffi } from '../../../src/linux/ffi.ts';
import { libraryDirectory } from '../../support/engine.ts';
import { benchShape, tinyShape, writeModel } from '../../support/gguf.ts';
import { load, plainSampling, scratch, sharedLibrary } from '../../support/native.ts';
import { assertWithin } from '../../support/time-bounds.ts';

const folder = scratch();
const path = join(folder, 'noise.gguf');

test('the structs have the sizes of the C structs, and the defaults are those of this version', () => {
  for (const { type, size } of Object.values(structSizes)) assert.equal(ffi.sizeof(type), size);
  const { calls } = sharedLibrary();
  const known = (defaults: Record<string, unknown>, expected: object) =>
    Object.keys(defaults).filter((key) => !(key in expected));
  assert.deepEqual(known(calls.modelDefaults(), expectedDefaults.modelParams), []);
  // Threads depend on the machine, and `n_samplers` is a BigInt.
  assert.deepEqual(known(calls.contextDefaults(), expectedDefaults.contextParams), [
    'n_threads',
    'n_threads_batch',
    'n_samplers',
  ]);
});

test('a folder without the libraries or a CPU variant is refused', () => {
  const script = `import { openLibrary } from ${JSON.stringify(join(import.meta.dirname, '../../../src/engine/llama/library.ts'))}; import { librariesIn } from ${JSON.stringify(join(import.meta.dirname, '../../support/native.ts'))}; try { openLibrary(librariesIn(process.argv[1])); console.log('opened'); } catch (error) { console.log(error.code); }`;
  const codeOf = (directory: string) =>
    spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', script, directory],
      { encoding: 'utf8' },
    ).stdout.trim();
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  assert.equal(codeOf(empty), 'ENGINE_ABI_MISMATCH');
  const bare = join(folder, 'bare');
  mkdirSync(bare);
  for (const name of readdirSync(libraryDirectory).filter((entry) => entry.endsWith('.so') && !entry.includes('cpu')))
    symlinkSync(join(libraryDirectory, name), join(bare, name));
  assert.equal(codeOf(bare), 'ENGINE_BACKEND_MISSING');
  assert.equal(codeOf(libraryDirectory), 'opened');
});

describe('steps', () => {
  let llama: LlamaModel;
  before(async () => {
    writeModel(path, tinyShape);
    llama = await load(path);
  });

  const run = async (sequence: number, tokens: readonly number[]): Promise<number> => {
    tokens.forEach((token, i) => llama.batch.add(token, i, sequence, i === tokens.length - 1));
    assert.equal(await llama.decode(), 'done');
    assert.equal(llama.batch.count, 0, 'the batch is empty after its step');
    using sampler = llama.makeSampler(plainSampling, 0, new Int32Array(0));
    const token = sampler.sample(tokens.length - 1);
    llama.forget(sequence);
    return token;
  };

  test('the same tokens yield the same next token in any sequence', async () => {
    const prompt = [...Buffer.from('hello there')];
    const first = await run(0, prompt);
    for (const sequence of [0, 1, 2, 3]) assert.equal(await run(sequence, prompt), first);
  });

  test('after erase nothing is remembered', async () => {
    const first = await run(1, [65]);
    for (let i = 0; i < 20; i += 1) llama.batch.add(66 + i, i, 1, i === 19);
    await llama.decode();
    llama.erase();
    assert.equal(await run(1, [65]), first);
  });

  test('two threads of a pool compute the same as one', async () => {
    const two = await load(path, { threads: 2 });
    const one = await run(0, [72, 73, 74]);
    [72, 73, 74].forEach((token, i) => two.batch.add(token, i, 0, i === 2));
    assert.equal(await two.decode(), 'done');
    using sampler = two.makeSampler(plainSampling, 0, new Int32Array(0));
    assert.equal(sampler.sample(2), one);
  });

  test('bytes round-trip, also those that are not characters', () => {
    for (let byte = 0; byte < 256; byte += 1) {
      const piece = llama.piece(byte);
      assert.equal(piece.length, 1);
    }
    assert.equal(llama.piece(257).length, 0, 'control tokens are not shown');
    const every = Buffer.from('Grüße, 世界 😀\n');
    const bytes = Buffer.from(new ArrayBuffer(every.length));
    bytes.set(every);
    const tokens = new Int32Array(new ArrayBuffer(4 * 64));
    const count = llama.tokenize(bytes, tokens, false);
    assert.deepEqual(
      Buffer.concat([...tokens.subarray(0, count)].map((token) => Buffer.from(llama.piece(token)))),
      every,
    );
    assert.equal(
      llama.tokenize(bytes, tokens.subarray(0, 3), false),
      -count,
      'too little room: the result says how much is needed',
    );
  });
});

test('a step can be aborted, and the next one is complete', async () => {
  const slow = join(folder, 'slow.gguf');
  writeModel(slow, { ...benchShape, layers: 4, vocabulary: 512 });
  const llama = await load(slow, { contextTokens: 512, batchTokens: 512, parallel: 1 });
  const fill = () => {
    for (let i = 0; i < 512; i += 1) llama.batch.add(i, i, 0, i === 511);
  };
  fill();
  const began = performance.now();
  const whole = await llama.decode();
  const wholeMs = performance.now() - began;
  assert.equal(whole, 'done');
  llama.erase();
  fill();
  const step = llama.decode();
  setTimeout(() => {
    llama.abortStep();
  }, wholeMs / 10);
  const again = performance.now();
  assert.equal(await step, 'aborted');
  assertWithin('a step that is aborted', performance.now() - again, wholeMs);
  llama.erase();
  llama.batch.add(1, 0, 0, true);
  assert.equal(await llama.decode(), 'done');
});
