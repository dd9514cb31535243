/**
 * Reads what the engine needs from its inherited descriptors: the model's checked headers, its chat template, the
 * context size, and llama.cpp itself.
 *
 * Promise: native code sees a model file only after its header has been parsed and its bounds have been checked.
 * Trust:   descriptors come from the supervisor; their contents were verified against the approval (layer 4).
 * Proof:   test/e2e/engine-models.test.ts, test/unit/layers/4-gguf-header.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import { loadListDescriptor, readLoadList } from '../../layers/3-dependencies/load-list.ts';
import type { GgufFacts, PartReader } from '../../layers/4-model/gguf-header.ts';
import { parseParts } from '../../layers/4-model/gguf-header.ts';
import type { Template } from '../../template/template.ts';
import { compileTemplate } from '../../template/template.ts';
import type { EngineConfig } from '../../wire/control-payloads.ts';
import { descriptors } from '../../wire/messages.ts';
import { physicalCores, suitsFlashAttention, threadPlan } from './cpu-plan.ts';
import type { Library } from './library.ts';
import { libraryFiles, openLibrary } from './library.ts';
import type { ContextShape } from './model.ts';

/** The default context size in tokens. A larger context uses more memory as soon as the engine starts. */
const defaultContextTokens = 4096;
const batchTokens = 512;

/** Returns the descriptors of the model's files, in order. */
export function modelDescriptors(files: number): number[] {
  return Array.from({ length: files }, (_, index) => (index === 0 ? descriptors.model : descriptors.parts + index - 1));
}

/** Parses the headers of the model's files. @throws `L4_*` */
export function readModelFacts({ modelFiles, modelBytes, modelName }: EngineConfig): GgufFacts {
  const parts = modelDescriptors(modelFiles).map((fd): PartReader => ({
    size: fs.fstatSync(fd).size,
    readAt(offset, length) {
      const bytes = Buffer.allocUnsafeSlow(length);
      let filled = 0;
      while (filled < length) {
        const count = fs.readSync(fd, bytes, filled, length - filled, offset + filled);
        if (count === 0) break;
        filled += count;
      }
      return bytes.subarray(0, filled);
    },
  }));
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (size !== modelBytes)
    throw new KwyreError(
      'L4_MODEL_CHANGED',
      `the size of the model ${modelName} changed after verification`,
      'start Kwyre again; if the error persists, verify the model',
    );
  return parseParts(parts);
}

/** Compiles the model's chat template. @throws `ENGINE_TEMPLATE` */
export function chatTemplate(facts: GgufFacts): Template {
  if (facts.template === '')
    throw new KwyreError(
      'ENGINE_TEMPLATE',
      'the model file has no chat template',
      'use an instruction-tuned model whose GGUF file includes one',
    );
  try {
    return compileTemplate(facts.template, { bos: facts.bos, eos: facts.eos });
  } catch (error) {
    if (!(error instanceof KwyreError)) throw error;
    throw new KwyreError(
      'ENGINE_TEMPLATE',
      `the chat template of the model cannot be used: ${error.message}`,
      'use another build of the model',
    );
  }
}

/** Chooses the size of the context. @throws `ENGINE_MEMORY` if its KV cache exceeds the available memory */
export function contextShape(config: EngineConfig, facts: GgufFacts): ContextShape {
  const wanted = config.contextTokens === 0 ? defaultContextTokens : config.contextTokens;
  const contextTokens = Math.min(wanted, facts.contextTokens);
  const cacheBytes = facts.cacheBytesPerToken * contextTokens * config.parallel;
  const available = process.availableMemory();
  if (cacheBytes > available) {
    const mib = (bytes: number) => Math.ceil(bytes / 2 ** 20);
    throw new KwyreError(
      'ENGINE_MEMORY',
      `${config.parallel} conversations of ${contextTokens} tokens need ${mib(cacheBytes)} MiB` +
        `; ${mib(available)} MiB are available`,
      'start with a smaller --ctx or --parallel',
    );
  }
  return {
    contextTokens,
    parallel: config.parallel,
    threads: config.threads === 0 ? threadPlan(coreCount(), facts.parameters) : config.threads,
    batchTokens: Math.max(config.parallel, Math.min(batchTokens, contextTokens)),
    flashAttention: suitsFlashAttention(facts),
  };
}

function coreCount(): number {
  const folder = '/sys/devices/system/cpu';
  let siblings: string[] = [];
  try {
    siblings = fs
      .readdirSync(folder)
      .filter((name) => /^cpu\d+$/.test(name))
      .map((name) => fs.readFileSync(`${folder}/${name}/topology/thread_siblings_list`, 'latin1'));
  } catch {
    // The topology cannot be read, so every logical core counts.
  }
  return physicalCores(siblings, availableParallelism());
}

/** Loads llama.cpp from inherited memfds and closes them. @throws the same errors as `openLibrary` */
export function openInheritedLibrary(): Library {
  const natives = [...readLoadList(loadListDescriptor).natives].slice(1);
  const library = openLibrary(
    libraryFiles(new Map(natives.map(([name, fd]) => [basename(name), `/proc/self/fd/${fd}`]))),
  );
  for (const [, fd] of natives) fs.closeSync(fd);
  return library;
}
