/**
 * The engine alone: llama.cpp, scheduler and samplers in one process, without wire, gateway or HTTP. Says which
 * tokens end an answer, then reads one JSON order a line and answers one JSON result a line.
 * @module
 */
import { createInterface } from 'node:readline';
import { suitsFlashAttention } from '../../src/engine/llama/cpu-plan.ts';
import { Generation } from '../../src/engine/inference/generation.ts';
import { openLibrary } from '../../src/engine/llama/library.ts';
import { LlamaModel } from '../../src/engine/llama/model.ts';
import { Scheduler } from '../../src/engine/inference/scheduler.ts';
import { PromptTokenizer } from '../../src/engine/llama/prompt-tokenizer.ts';
import { libraryDirectory } from '../support/engine.ts';
import { librariesIn } from '../support/native.ts';
import { factsOf } from '../support/facts.ts';
import type { Order, Timing } from './run.ts';
import { promptText } from './run.ts';

const [model = '', contextTokens = '', parallel = '', threads = ''] = process.argv.slice(2);
const llama = await LlamaModel.open(openLibrary(librariesIn(libraryDirectory)), [model], 'bench', {
  contextTokens: Number(contextTokens),
  parallel: Number(parallel),
  threads: Number(threads),
  batchTokens: Math.min(512, Number(contextTokens)),
  flashAttention: suitsFlashAttention(factsOf(model)),
});
const tokenizer = new PromptTokenizer(llama);
const scheduler = new Scheduler(llama, {
  now: () => performance.now(),
  next: setImmediate,
  after: (ms, wake) => {
    const timer = setTimeout(wake, ms);
    return () => {
      clearTimeout(timer);
    };
  },
});

/** One stream, timed as a client would. */
async function stream(order: Order, index: number): Promise<Timing> {
  const text = Buffer.from(new ArrayBuffer(8 * order.promptBytes + 64));
  const length = text.write(promptText(order.promptBytes, index));
  const pieces = [
    { kind: 'template', text: '<|im_start|>user\n' },
    { kind: 'text', bytes: text.subarray(0, length) },
    { kind: 'template', text: '<|im_end|>\n<|im_start|>assistant\n' },
  ] as const;
  const began = performance.now();
  const prompt = await tokenizer.encode(pieces);
  const done = Promise.withResolvers<Timing>();
  let first = 0;
  let last = 0;
  const logitBias = order.banned.map((token) => ({ token, bias: -100 }));
  const sampling = {
    temperature: 0,
    topK: 40,
    topP: 0.95,
    minP: 0.05,
    seed: 1,
    repeatPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repeatLastN: 64,
    logitBias,
  };
  scheduler.submit(
    new Generation(
      llama,
      { prompt, sampling, seed: 1, maxTokens: order.tokens, stop: [], deadline: Number.POSITIVE_INFINITY },
      {
        content() {
          last = performance.now();
          if (first === 0) first = last;
        },
        finish(_reason, usage) {
          done.resolve({
            began,
            first: first === 0 ? performance.now() : first,
            last: performance.now(),
            promptTokens: usage.promptTokens,
            tokens: usage.completionTokens,
          });
        },
        fail: (error) => {
          done.reject(error);
        },
        congested: () => false,
      },
    ),
  );
  return await done.promise;
}

console.log(
  JSON.stringify(
    Array.from({ length: llama.vocabSize }, (_, token) => token).filter((token) => llama.endsGeneration(token)),
  ),
);
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as Order;
  const timings = await Promise.all(
    Array.from({ length: order.streams }, async (_, i) => await stream(order, order.seed + i)),
  );
  console.log(JSON.stringify(timings));
}
process.exit(0);
