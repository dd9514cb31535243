/**
 * llama.cpp in the test's own process, with models of a few hundred kilobytes.
 * @module
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { suitsFlashAttention } from '../../src/engine/llama/cpu-plan.ts';
import type { LibraryFiles } from '../../src/engine/llama/bindings.ts';
import type { Library } from '../../src/engine/llama/library.ts';
import { libraryFiles, openLibrary } from '../../src/engine/llama/library.ts';
import type { ContextShape } from '../../src/engine/llama/model.ts';
import { LlamaModel } from '../../src/engine/llama/model.ts';
import type { Sampling } from '../../src/engine/types.ts';
import { libraryDirectory } from './engine.ts';
import { factsOf } from './facts.ts';

let library: Library | undefined;

/** llama.cpp's libraries in a folder. */
export const librariesIn = (folder: string): LibraryFiles =>
  libraryFiles(new Map(readdirSync(folder).map((file) => [file, join(folder, file)])));

/** The library, opened once. */
export function sharedLibrary(): Library {
  library ??= openLibrary(librariesIn(libraryDirectory));
  return library;
}

/** A folder that is gone when the file's tests are over. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-native-'));
  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** Loads a model as the engine does, for four sequences of 512 tokens, or as told. */
export async function load(
  path: string,
  shape: Partial<ContextShape> = {},
  from = sharedLibrary(),
): Promise<LlamaModel> {
  return await LlamaModel.open(from, [path], 'test', {
    contextTokens: 512,
    parallel: 4,
    threads: 1,
    batchTokens: 256,
    flashAttention: suitsFlashAttention(factsOf(path)),
    ...shape,
  });
}

/** Greedy, nothing else. */
export const plainSampling: Sampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seed: null,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repeatLastN: 64,
  logitBias: [],
};
