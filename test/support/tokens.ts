/**
 * Runs of token ids, as the engine's own vocabulary makes them, and what the model remembers of them: needles for memory.
 * @module
 */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { compileTemplate } from '../../src/engine/template.ts';
import { Vocabulary } from '../../src/engine/vocabulary.ts';
import { addressOf } from '../../src/linux/process.ts';
import { factsOf } from './facts.ts';
import { presentRuns, readMemory, regionsOf } from '../../src/cli/scanner.ts';
import { load } from './native.ts';
import { root } from './server.ts';

const guidePath = join(root, 'models', 'guide', 'guide.gguf');

/** Token runs of texts, as the engine's own vocabulary makes them. */
export async function tokenRuns(texts: readonly string[]): Promise<Buffer[]> {
  const llama = await load(guidePath, { contextTokens: 64, parallel: 1, batchTokens: 16 });
  return texts.map((text) => {
    const tokens = new Int32Array(256);
    const count = llama.tokenize(Buffer.from(text), tokens, false);
    // The border tokens depend on what stands beside the text.
    return Buffer.from(tokens.buffer.slice(4, 4 * (count - 1)));
  });
}

/** Everything that is in the memory of a process and no file, piece by piece; memory is not held open for longer than it takes. */
export function* memoryOf(pid: number): Generator<{ bytes: Buffer; address: bigint; region: string }> {
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    for (const region of regionsOf(pid)) {
      // Read-only views of files hold no conversation.
      if (region.name.startsWith('/')) continue;
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

/** How many needles of bytes stand in a process, each found at least once. */
export function countRuns(pid: number, runs: readonly Buffer[]): number {
  const left = new Set(runs);
  for (const { bytes } of memoryOf(pid)) for (const run of left) if (bytes.includes(run)) left.delete(run);
  return runs.length - left.size;
}

/** Pieces of 64 bytes of what the guide model remembers of a prompt, at even distances, without the plain ones. */
export async function stateWindows(messages: readonly { readonly role: string; readonly content: string }[], many: number): Promise<Buffer[]> {
  const llama = await load(guidePath, { parallel: 1, batchTokens: 512 });
  const facts = factsOf(guidePath);
  const prompt = compileTemplate(facts.template, facts).render(messages.map(({ role, content }) => ({ role: role as 'user', parts: [Buffer.from(content)] })), { addGenerationPrompt: true });
  const run = await new Vocabulary(llama).encode(prompt.pieces);
  for (let i = 0; i < run.length; i += 1) llama.batch.add(run.tokens[i]!, i, 0, i === run.length - 1);
  if ((await llama.decode()) !== 'done') throw new Error('the prompt could not be decoded');
  const state = Buffer.from(new ArrayBuffer(llama.stateBytes(0)));
  const length = llama.readState(0, addressOf(state), state.length);
  const windows: Buffer[] = [];
  for (let at = 4096; at + 64 < length && windows.length < many; at += Math.max(64, Math.floor(length / many / 64) * 64)) {
    const window = state.subarray(at, at + 64);
    if (new Set(window).size > 30) windows.push(window);
  }
  return windows;
}
