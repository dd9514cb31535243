/**
 * Runs of token ids, as the engine's own vocabulary makes them, and what the model remembers of them: needles for
 * memory.
 * @module
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  patternsOf,
  presentRuns,
  readMemory,
  regionsOf,
  scanProcess,
  Searcher,
} from '../../src/cli/prove/memory-scanner.ts';
import type { Calls } from '../../src/engine/llama/bindings.ts';
import { compileTemplate } from '../../src/template/template.ts';
import { PromptTokenizer } from '../../src/engine/llama/prompt-tokenizer.ts';
import { Cursor, Metadata } from '../../src/layers/4-model/gguf-metadata.ts';
import { checkTensors } from '../../src/layers/4-model/gguf-tensors.ts';
import { ffi } from '../../src/linux/ffi.ts';
import { viewMemory } from '../../src/linux/memory/mapped-memory.ts';
import { addressOf } from '../../src/linux/syscalls.ts';
import { libraryDirectory } from './engine.ts';
import { factsOf } from './facts.ts';
import { load, plainSampling, sharedLibrary } from './native.ts';
import { root } from './server.ts';

const guidePath = join(root, 'models', 'guide', 'guide.gguf');

/**
 * Numbers as they may stand side by side in memory: 32 bits each, 64 bits each (as in a JavaScript array of whole
 * numbers), floats of 64 bits.
 */
function runsOf(tokens: Int32Array): Buffer[] {
  const wide = new Int32Array(2 * tokens.length - 1);
  tokens.forEach((token, index) => (wide[2 * index] = token));
  return [tokens, wide, Float64Array.from(tokens)].map((run) =>
    Buffer.from(run.buffer, run.byteOffset, run.byteLength),
  );
}

/** Token runs of texts, as the engine's own vocabulary makes them, each in every form of {@link runsOf}. */
export async function tokenRuns(texts: readonly string[]): Promise<Buffer[]> {
  const llama = await load(guidePath, { contextTokens: 64, parallel: 1, batchTokens: 16 });
  return texts.flatMap((text) => {
    const tokens = new Int32Array(256);
    const count = llama.tokenize(Buffer.from(text), tokens, false);
    // The border tokens depend on what stands beside the text.
    return runsOf(tokens.slice(1, count - 1));
  });
}

let ends: Promise<number[]> | undefined;

/** The guide's tokens that would end an answer. */
export async function endTokens(): Promise<number[]> {
  ends ??= load(guidePath, { contextTokens: 64, parallel: 1, batchTokens: 16 }).then((llama) =>
    Array.from({ length: llama.vocabSize }, (_, token) => token).filter((token) => llama.endsGeneration(token)),
  );
  return await ends;
}

/** Tokens that must not be chosen, as a request says it. */
export const biasOf = (banned: readonly number[]): Record<string, number> =>
  Object.fromEntries(banned.map((token) => [String(token), -100]));

/**
 * Everything that is in the memory of a process and no file, piece by piece; memory is not held open for longer than it
 * takes.
 */
export function* memoryOf(pid: number): Generator<{ bytes: Buffer; address: bigint; region: string }> {
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    for (const region of regionsOf(pid)) {
      // Views of files hold no conversation; memory that only looks like one may.
      if (region.name.startsWith('/') && !region.name.startsWith('/memfd:')) continue;
      for (const run of presentRuns(pagemap, region)) {
        const bytes = Buffer.allocUnsafeSlow(run.length);
        const address = region.from + BigInt(run.at);
        let length = 0;
        try {
          length = readMemory(pid, bytes, run.length, address);
        } catch {
          continue;
        }
        yield { bytes: bytes.subarray(0, length), address, region: region.name };
      }
    }
  } finally {
    closeSync(pagemap);
  }
}

const twoZeros = Buffer.alloc(2);

/** How many needles of bytes stand in a process, each found at least once. */
export function countRuns(pid: number, runs: readonly Buffer[]): number {
  // The searcher cannot jump over zeros when a needle has them.
  const [plain, zeros] = [runs.filter((run) => !run.includes(twoZeros)), runs.filter((run) => run.includes(twoZeros))];
  const left = new Set(zeros);
  if (left.size > 0)
    for (const { bytes } of memoryOf(pid)) for (const run of left) if (bytes.includes(run)) left.delete(run);
  const found =
    plain.length === 0
      ? 0
      : scanProcess(
          pid,
          plain.map((bytes) => ({ name: 'run', bytes })),
        ).found;
  return found + zeros.length - left.size;
}

/** The same for memory that was copied, so that its process was held still for the copy only. */
export function countRunsIn(memory: readonly Buffer[], runs: readonly Buffer[]): number {
  const found = new Set(runs.filter((run) => run.includes(twoZeros) && memory.some((bytes) => bytes.includes(run))));
  const plain = runs.filter((run) => !run.includes(twoZeros));
  if (plain.length === 0) return found.size;
  const searcher = new Searcher(patternsOf(plain.map((bytes) => ({ name: 'run', bytes }))));
  for (const bytes of memory)
    searcher.search(bytes, bytes.length, bytes.length, ({ needle }) => {
      found.add(plain[needle]!);
    });
  return found.size;
}

/** Pieces of 64 bytes at even distances, without the plain ones. */
function windowsOf(bytes: Buffer, many: number): Buffer[] {
  const windows: Buffer[] = [];
  for (
    let at = 0;
    at + 64 <= bytes.length && windows.length < many;
    at += Math.max(64, Math.floor(bytes.length / many / 64) * 64)
  ) {
    const window = bytes.subarray(at, at + 64);
    if (new Set(window).size > 30) windows.push(window);
  }
  return windows;
}

/** What the guide model computes over a prompt and its answer, in pieces of 64 bytes: needles for memory. */
export type Traces = {
  /** What it remembers of the prompt: keys and values, as they are exported. */
  readonly state: Buffer[];
  /** The rows of the table of embeddings that the prompt's tokens stand for, as 32-bit floats. */
  readonly rows: Buffer[];
  /** The logits of the answer's tokens, one after another, as long as the likeliest token follows. */
  readonly logits: Buffer[];
};

/**
 * Rows of the guide's table of embeddings, 8 bits a number and a scale of 16 bits for 32 of them, as ggml makes floats
 * of them.
 */
function embeddingRows(tokens: Iterable<number>): Float32Array[] {
  const file = readFileSync(guidePath);
  const cursor = new Cursor((offset, length) => file.subarray(offset, offset + length), file.length);
  const metadata = new Metadata((offset, length) => file.subarray(offset, offset + length), file.length);
  cursor.skip(8);
  const [tensors, pairs] = [cursor.count('', 1e4), cursor.count('', 1e4)];
  for (let i = 0; i < pairs; i += 1) metadata.readPair(cursor);
  const width = metadata.whole('llama.embedding_length', 32, 1 << 20);
  checkTensors(cursor, tensors, 32, file.length, new Map());
  const table = file.subarray(Math.ceil(cursor.offset / 32) * 32); // it is the first tensor
  return [...tokens].map((token) =>
    Float32Array.from({ length: width }, (_, i) => {
      const block = (token * (width / 32) + Math.floor(i / 32)) * 34;
      return halfToNumber(table.readUInt16LE(block)) * table.readInt8(block + 2 + (i % 32));
    }),
  );
}

function halfToNumber(half: number): number {
  const [sign, exponent, fraction] = [half & 0x8000 ? -1 : 1, (half >> 10) & 31, half & 1023];
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/** Computes a turn as the engine does: the prompt, and `answer` tokens after it, those of `banned` left out. */
export async function tracesOf(
  messages: readonly { readonly role: string; readonly content: string }[],
  { windows = 200, answer = 0, banned = [] as readonly number[] } = {},
): Promise<Traces> {
  let context = 0n;
  const library = sharedLibrary();
  const watched = {
    ...library,
    calls: {
      ...library.calls,
      contextInit: (...args: Parameters<Calls['contextInit']>) => (context = library.calls.contextInit(...args) ?? 0n),
    },
  };
  const llama = await load(guidePath, { contextTokens: 1024, parallel: 1, batchTokens: 512 }, watched);
  const logitsAt = ffi
    .load(join(libraryDirectory, 'libllama.v0.5.0.so'))
    .func('void *llama_get_logits_ith(void *context, int32_t index)') as (context: bigint, index: number) => bigint;
  const facts = factsOf(guidePath);
  const prompt = compileTemplate(facts.template, facts).render(
    messages.map(({ role, content }) => ({ role: role as 'user', parts: [Buffer.from(content)] })),
    { addGenerationPrompt: true },
  );
  const run = await new PromptTokenizer(llama).encode(prompt.pieces);
  const step = async () => {
    if ((await llama.decode()) !== 'done') throw new Error('the prompt could not be decoded');
  };
  for (let i = 0; i < run.length; i += 1) llama.batch.add(run.tokens[i]!, i, 0, i === run.length - 1);
  let last = run.length - 1;
  await step();
  const state = Buffer.from(new ArrayBuffer(llama.stateBytes(0)));
  const length = llama.readState(0, addressOf(state), state.length);
  const sampler = llama.makeSampler(
    { ...plainSampling, logitBias: banned.map((token) => ({ token, bias: -100 })) },
    0,
    new Int32Array(0),
  );
  const logits: Buffer[] = [];
  for (let i = 0; i < answer; i += 1) {
    const values = Buffer.from(viewMemory(logitsAt(context, last), 4 * llama.vocabSize));
    logits.push(...windowsOf(values, 2));
    const token = sampler.sample(last);
    llama.batch.add(token, run.length + i, 0, true);
    last = 0;
    await step();
  }
  sampler[Symbol.dispose]();
  const tokens = new Set(run.tokens.subarray(0, run.length));
  const rows = embeddingRows(tokens).flatMap((row) => windowsOf(Buffer.from(row.buffer), 3));
  return { state: windowsOf(state.subarray(4096, length), windows), rows, logits };
}
