/**
 * Chooses the next token. Each generation has its own chain of llama.cpp's samplers, in llama-server's order.
 *
 * Promise: sampling parameters within their ranges (chat-request.ts) never make llama.cpp divide by zero or fail an
 *          assertion.
 * Limits:  the repetition penalty considers both the prompt and the completion. The presence and frequency penalties
 *          consider only the completion, as OpenAI describes them (llama-server counts the prompt for all three).
 * Proof:   test/unit/engine/sampler.test.ts, test/e2e/openai.test.ts
 * @module
 */
import { unpooledBytes } from '../../base/bytes.ts';
import type { Sampling } from '../types.ts';
import type { Calls, Pointer } from './bindings.ts';
import { addressOf } from './bindings.ts';

/** Below this, logits divided by the temperature overflow a float. Greedy sampling is used, with the same result. */
const lowestTemperature = 1e-3;

/** `sizeof(llama_logit_bias)`. */
const biasBytes = 8;

function biasSampler(calls: Calls, vocabSize: number, sampling: Sampling): Pointer | undefined {
  const biases = sampling.logitBias.filter((entry) => entry.token < vocabSize);
  if (biases.length === 0) return undefined;
  const packed = unpooledBytes(biasBytes * biases.length);
  biases.forEach((entry, index) => {
    packed.writeInt32LE(entry.token, biasBytes * index);
    packed.writeFloatLE(entry.bias, biasBytes * index + 4);
  });
  return calls.logitBias(vocabSize, biases.length, addressOf(packed)); // copied
}

/** The inputs that determine a generation's samplers. */
type SamplerOptions = {
  readonly vocabSize: number;
  readonly sampling: Sampling;
  readonly seed: number;
  /** The prompt's tokens, for the repetition penalty. */
  readonly prompt: Int32Array;
};

export class Sampler {
  readonly #calls: Calls;
  readonly #context: Pointer;
  #chain: Pointer | undefined;

  constructor(calls: Calls, context: Pointer, { vocabSize, sampling, seed, prompt }: SamplerOptions) {
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
    if (sampling.temperature < lowestTemperature) {
      calls.chainAdd(chain, calls.greedy());
      return;
    }
    if (sampling.topK > 0) calls.chainAdd(chain, calls.topK(sampling.topK));
    if (sampling.topP < 1) calls.chainAdd(chain, calls.topP(sampling.topP, 1));
    if (sampling.minP > 0) calls.chainAdd(chain, calls.minP(sampling.minP, 1));
    calls.chainAdd(chain, calls.temperature(sampling.temperature));
    calls.chainAdd(chain, calls.distribution(seed));
  }

  /** Chooses the next token from the logits at a batch index. Penalties take the token into account from then on. */
  sample(index: number): number {
    return this.#chain === undefined ? -1 : this.#calls.sample(this.#chain, this.#context, index);
  }

  /** Frees the samplers; the allocator overwrites their memory. */
  [Symbol.dispose](): void {
    if (this.#chain !== undefined) this.#calls.samplerFree(this.#chain);
    this.#chain = undefined;
  }
}
