/**
 * A text has the tokens of the whole text in llama.cpp, whatever its length and however it is split into pieces.
 *
 * KWYRE_VOCABULARIES=DIR adds every `*.gguf` there, such as `models` of a llama.cpp release.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { addressOf } from '../../../src/engine/llama/bindings.ts';
import type { LlamaModel } from '../../../src/engine/llama/model.ts';
import type { PromptPiece } from '../../../src/engine/types.ts';
import { PromptTokenizer } from '../../../src/engine/llama/prompt-tokenizer.ts';
import { sharedLibrary } from '../../support/native.ts';

const bytePairs = 2;
const guide = join(import.meta.dirname, '../../../models/guide/guide.gguf');
const folder = process.env['KWYRE_VOCABULARIES'];
const files = [
  guide,
  ...(folder === undefined
    ? []
    : readdirSync(folder)
        .filter((name) => name.endsWith('.gguf'))
        .sort()
        .map((name) => join(folder, name))),
];

/** Opens a file's vocabulary only, with the calls that the tokenizer makes. */
async function open(path: string): Promise<{ llama: LlamaModel; patterns: boolean }> {
  const { calls } = sharedLibrary();
  const { promise, resolve } = Promise.withResolvers<bigint | null>();
  calls.modelLoad.async([path], 1, { ...calls.modelDefaults(), vocab_only: true, n_gpu_layers: 0 }, (_error, model) => {
    resolve(model);
  });
  const model = await promise;
  assert.ok(model !== null, path);
  const vocab = calls.modelVocab(model);
  const patterns = calls.vocabType(vocab) === bytePairs;
  const tokenize = (bytes: Uint8Array, target: Int32Array, special: boolean) =>
    bytes.length === 0
      ? 0
      : calls.tokenize(vocab, addressOf(bytes), bytes.length, addressOf(target), target.length, false, special);
  const llama = {
    contextTokens: 1 << 20,
    bos: undefined,
    isBytePair: patterns,
    attributes: (token: number) => calls.attributes(vocab, token),
    textOf: (token: number) => calls.tokenText(vocab, token),
    tokenize,
    tokenizeOffThread: (bytes: Uint8Array, target: Int32Array, special: boolean) =>
      Promise.resolve(tokenize(bytes, target, special)),
  };
  return { llama: llama as unknown as LlamaModel, patterns };
}

function whole(llama: LlamaModel, text: string): number[] {
  const bytes = Buffer.from(new ArrayBuffer(Buffer.byteLength(text)));
  bytes.write(text);
  const found = new Int32Array(new ArrayBuffer(4 * (bytes.length + 16)));
  return [...found.subarray(0, llama.tokenize(bytes, found, true))];
}

const piece = (text: string): PromptPiece => ({ kind: 'text', bytes: Buffer.from(text) });

for (const path of files) {
  test(`split text has the tokens of the whole: ${path.split('/').at(-1) ?? ''}`, async () => {
    const { llama, patterns } = await open(path);
    const vocabulary = new PromptTokenizer(llama);
    const encode = async (pieces: readonly PromptPiece[]) => {
      const { tokens, length } = await vocabulary.encode(pieces);
      return [...tokens.subarray(0, length)];
    };
    // Runs without white space; for byte-pair encodings up to the length that llama.cpp survives.
    const longest = patterns ? 16_000 : 20_000;
    for (const unit of ['a', '1', '456789', '\u6f22', ' ', '\n', '=', 'ab\u00e9']) {
      const text = unit.repeat(Math.floor(longest / Buffer.byteLength(unit)));
      const wanted = whole(llama, text);
      // Some vocabularies have no token for white space.
      if (wanted.length > 0)
        assert.deepEqual(
          await encode([piece(text.slice(0, 5000)), piece(text.slice(5000))]),
          wanted,
          JSON.stringify(unit),
        );
    }
    // White space around markers, across the boundary between template and message.
    for (const marker of ['<|user|>', '<|end|>', '<|im_start|>', '<|assistant|>', '</s>', '<s>', '<start_of_turn>']) {
      for (const [before, message, after] of [
        ['', '  \n hi there ', '\n'],
        ['\n', ' \n', ' x'],
        [' ', 'hi \n ', ''],
      ] as const) {
        const template = (text: string): PromptPiece => ({ kind: 'template', text });
        assert.deepEqual(
          await encode([template(`${marker}${before}`), piece(message), template(`${after}${marker}`)]),
          whole(llama, `${marker}${before}${message}${after}${marker}`),
          JSON.stringify([marker, before, message, after]),
        );
      }
    }
  });
}
