/**
 * A real engine process that is given models it must refuse: a coded failure each time, never a crash.
 * @module
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { tryEngine } from '../support/engine.ts';
import type { Model, Value } from '../support/gguf.ts';
import { llamaModel, random, tensorData, tinyShape, withMetadata, writeFile, writeModel } from '../support/gguf.ts';

const folder = mkdtempSync(join(tmpdir(), 'kwyre-models-'));
const file = (name: string) => join(folder, name);

before(() => {
  chmodSync(folder, 0o755); // the engine is another user
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, model: Model): string {
  const next = random(1);
  writeFile(file(name), model, (tensor) => tensorData(tensor, next));
  return file(name);
}

/** The code of the failure that the engine reports. */
async function codeOf(
  model: string,
  config: NonNullable<Parameters<typeof tryEngine>[0]['config']> = {},
): Promise<string> {
  const outcome = await tryEngine({ model, config });
  if (!('pid' in outcome)) {
    assert.notEqual(outcome.remedy, '');
    return outcome.code;
  }
  await outcome.stop();
  return 'served';
}

const changed = (changes: Record<string, Value | undefined>) => withMetadata(llamaModel(tinyShape), changes);

test('a sound model is served', async () => {
  assert.equal(await codeOf(write('sound.gguf', llamaModel(tinyShape))), 'served');
});

test('a file that is cut off, wherever', async () => {
  const whole = write('cut.gguf', llamaModel(tinyShape));
  const { size } = statSync(whole);
  const bytes = readFileSync(whole);
  for (const length of [0, 3, 23, 200, 5000, size - 1]) {
    writeFileSync(whole, bytes);
    truncateSync(whole, length);
    assert.match(await codeOf(whole), /^L4_GGUF_/, `cut to ${length} bytes`);
  }
});

test('a file that is not as long as the one that was checked', async () => {
  const path = write('longer.gguf', llamaModel(tinyShape));
  assert.equal(await codeOf(path, { modelBytes: statSync(path).size + 1 }), 'L4_MODEL_CHANGED');
});

test('an architecture that llama.cpp does not know', async () => {
  const model = llamaModel(tinyShape);
  const metadata = model.metadata.map(([key, value]): [string, Value] => [
    key.replace(/^llama\./, 'zebra.'),
    key === 'general.architecture' ? { text: 'zebra' } : value,
  ]);
  assert.equal(await codeOf(write('zebra.gguf', { ...model, metadata })), 'ENGINE_ARCHITECTURE_UNKNOWN');
});

test('a tensor that is missing, or has another shape than the header says', async () => {
  const model = llamaModel(tinyShape);
  assert.equal(
    await codeOf(
      write('missing.gguf', { ...model, tensors: model.tensors.filter(({ name }) => name !== 'output_norm.weight') }),
    ),
    'ENGINE_MODEL_INCOMPLETE',
  );
  assert.equal(
    await codeOf(write('shape.gguf', changed({ 'llama.embedding_length': { u32: 128 } }))),
    'ENGINE_MODEL_INCOMPLETE',
  );
});

test('a model without a chat template, or with one that cannot be read', async () => {
  assert.equal(await codeOf(write('plain.gguf', changed({ 'tokenizer.chat_template': undefined }))), 'ENGINE_TEMPLATE');
  assert.equal(
    await codeOf(write('broken.gguf', changed({ 'tokenizer.chat_template': { text: '{% for x in %}' } }))),
    'ENGINE_TEMPLATE',
  );
});

test('an unknown way to cut text into words', async () => {
  assert.equal(
    await codeOf(write('pre.gguf', changed({ 'tokenizer.ggml.pre': { text: 'nobody-knows-this' } }))),
    'ENGINE_TOKENIZER_UNKNOWN',
  );
});

test('keys whose absence or value ends llama.cpp at once are refused before it sees the file', async () => {
  for (const [name, changes] of Object.entries({
    'no feed-forward length': { 'llama.feed_forward_length': undefined },
    'no heads': { 'llama.attention.head_count': undefined },
    'heads of zero': { 'llama.attention.head_count': { u32: 0 } },
    'alignment of 8': { 'general.alignment': { u32: 8 } },
    'a thousand layers': { 'llama.block_count': { u32: 1000 } },
    'experts that are none': { 'llama.expert_used_count': { u32: 2 } },
    'too many experts': { 'llama.expert_count': { u32: 4096 } },
    'a rope of another kind': { 'llama.rope.scaling.type': { text: 'spiral' } },
    'the same token twice': {
      'tokenizer.ggml.tokens': {
        texts: Array.from({ length: tinyShape.vocabulary }, (_, i) => (i === 7 ? '8' : String(i))),
      },
    },
  } satisfies Record<string, Record<string, Value | undefined>>)) {
    assert.match(await codeOf(write('key.gguf', changed(changes))), /^L4_GGUF_/, name);
  }
});

test('a context that does not fit into memory', async () => {
  const path = write('huge.gguf', changed({ 'llama.context_length': { u32: 1 << 24 } }));
  assert.equal(await codeOf(path, { contextTokens: 1 << 24, parallel: 256 }), 'ENGINE_MEMORY');
});

test('an asked context beyond what the model was trained for is cut to that', async () => {
  writeModel(file('trained.gguf'), tinyShape);
  const engine = await tryEngine({ model: file('trained.gguf'), config: { contextTokens: 100_000 } });
  assert.ok('pid' in engine);
  assert.equal(engine.facts.contextTokens, tinyShape.context);
  await engine.stop();
});
