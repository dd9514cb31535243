/**
 * How a model runs on this processor: the number of threads, and whether flash attention is worth using.
 *
 * ggml's threads spin, so running more threads than there are free cores slows generation down severely.
 *
 * With AVX-512, llama.cpp's flash attention works in vectors of 64 elements. The rest of a head is computed element by
 * element in emulated 16-bit floats, which takes most of a step in a model with small heads and few parameters. Without
 * flash attention, attention is a matrix product that needs memory for all scores. A large model would need too much
 * memory and would gain nothing.
 *
 * Source: measured; see docs/BENCHMARKS.md and docs/adr/0016-attention-of-small-heads.md
 * Proof:  test/unit/engine/cpu-plan.test.ts
 * @module
 */
import type { GgufFacts } from '../../layers/4-model/gguf-header.ts';

/** With fewer parameters, a step is so short that dispatching work to another thread costs more than the work. */
const tinyParameters = 50_000_000;

/** Number of elements in an AVX-512 vector. */
const vectorElements = 64;

/** Returns the default thread count: 1 for a tiny model, otherwise one per core, minus one on four or more cores. */
export function threadPlan(cores: number, parameters: number): number {
  if (parameters < tinyParameters) return 1;
  return Math.max(1, cores >= 4 ? cores - 1 : cores);
}

/**
 * Counts physical cores.
 * @param siblings - `thread_siblings_list` of each logical core (`0,4` or `0-1`); if empty, every logical core counts
 * @param usable - number of logical cores that this process may use; the result is never higher
 */
export function physicalCores(siblings: readonly string[], usable: number): number {
  const distinct = new Set(siblings.map((list) => list.trim()).filter((list) => list !== ''));
  return Math.max(1, Math.min(usable, distinct.size === 0 ? usable : distinct.size));
}

/** Returns whether to use flash attention: always, except for a tiny model whose heads are smaller than a vector. */
export function suitsFlashAttention({ headSizes, parameters }: Pick<GgufFacts, 'headSizes' | 'parameters'>): boolean {
  return parameters >= tinyParameters || headSizes.every((size) => size >= vectorElements);
}
