/**
 * How the next token is chosen: llama.cpp's samplers, in its own server's order, one chain for each answer.
 *
 * Promise: the numbers were checked against their ranges (chat-request.ts), and none that is left can make llama.cpp
 *          divide by zero or fail an assertion.
 * Limits:  the repetition penalty looks at the prompt and the answer, presence and frequency penalties at the answer
 *          only, as OpenAI describes them (llama-server counts the prompt for all three).
 * Proof:   test/e2e/openai.test.ts
 * @module
 */
import { unpooledBytes } from '../../base/bytes.ts';
import type { Calls, Pointer } from './library.ts';
import { addressOf } from './library.ts';
import type { Sampling } from '../types.ts';

/** Below this the quotient of logits and temperature leaves the range of floats; the result would be the greedy one. */
const coldest = 1e-3;

/** Bytes of `llama_logit_bias`. */
const biasBytes = 8;

function biasSampler(calls: Calls, vocabSize: number, sampling: Sampling): Pointer | undefined {
  const biases = sampling.logitBias.filter((entry) => entry.token < vocabSize);
  if (biases.length === 0) return undefined;
  const packed = unpooledBytes(biasBytes * biases.length);
  biases.forEach((entry, index) => {
    packed.writeInt32LE(entry.token, biasBytes * index);
    packed.writeFloatLE(entry.bias, biasBytes * index + 4);
  });
  return calls.logitBias(vocabSize, biases.length, addressOf(packed)); // it copies them
}

/** The samplers of one answer. */
export class Sampler {
  readonly #calls: Calls;
  readonly #context: Pointer;
  #chain: Pointer | undefined;

  /** @param prompt - the prompt's tokens; the repetition penalty looks back at them. */
  constructor(calls: Calls, context: Pointer, vocabSize: number, sampling: Sampling, seed: number, prompt: Int32Array) {
    this.#calls = calls;
    this.#context = context;
    const chain = calls.chainInit({ no_perf: true });
    this.#chain = chain;
    const bias = biasSampler(calls, vocabSize, sampling);
    if (bias !== undefined) calls.chainAdd(chain, bias);
    const last = sampling.repeatLastN;
    if (last > 0 && sampling.repeatPenalty !== 1) {
      const repeat = calls.penalties(vocabSize, last, sampling.repeatPenalty, 0, 0);
      for (let i = Math.max(0, prompt.length - last); i < prompt.length; i += 1) calls.accept(repeat, prompt[i] ?? 0);
      calls.chainAdd(chain, repeat);
    }
    if (last > 0 && (sampling.frequencyPenalty !== 0 || sampling.presencePenalty !== 0)) {
      calls.chainAdd(chain, calls.penalties(vocabSize, last, 1, sampling.frequencyPenalty, sampling.presencePenalty));
    }
    if (sampling.temperature < coldest) {
      calls.chainAdd(chain, calls.greedy());
      return;
    }
    if (sampling.topK > 0) calls.chainAdd(chain, calls.topK(sampling.topK));
    if (sampling.topP < 1) calls.chainAdd(chain, calls.topP(sampling.topP, 1));
    if (sampling.minP > 0) calls.chainAdd(chain, calls.minP(sampling.minP, 1));
    calls.chainAdd(chain, calls.temperature(sampling.temperature));
    calls.chainAdd(chain, calls.distribution(seed));
  }

  /** Chooses the next token from the logits of a batch index, and remembers it. */
  sample(index: number): number {
    return this.#chain === undefined ? -1 : this.#calls.sample(this.#chain, this.#context, index);
  }

  /** Gives the memory back, which the C library overwrites. */
  [Symbol.dispose](): void {
    if (this.#chain !== undefined) this.#calls.samplerFree(this.#chain);
    this.#chain = undefined;
  }
}
