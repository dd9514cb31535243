/**
 * Whether llama.cpp's flash attention suits a model on a processor.
 *
 * Its vectors are as long as 64 elements where the processor has AVX-512. What a head has beyond whole ones is computed
 * one by one, with 16-bit floats made by shifts: for heads of 32 more than half of a step, twice as much as everything
 * else together. Without it attention is a product of matrices, which handles every length well but needs room for all
 * scores, and is slower where the vectors fit.
 *
 * Source: measured; see docs/BENCHMARKS.md
 * Proof:  test/unit/engine/attention.test.ts
 * @module
 */

/** Elements of a vector: AVX-512 with four accumulators; shorter ones divide it. */
const vectorElements = 64;

/** Whether keys and values of a head fill whole vectors. */
export function suitsFlashAttention(headSizes: readonly [key: number, value: number]): boolean {
  return headSizes.every((size) => size % vectorElements === 0);
}
