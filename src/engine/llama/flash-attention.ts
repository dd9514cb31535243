/**
 * Whether llama.cpp's flash attention suits a model on a processor.
 *
 * With AVX-512 it works in vectors of 64 elements; what a head has beyond whole ones is computed one by one, with
 * 16-bit floats made by shifts. Where heads have less than one vector and little else is to be computed, that is most
 * of a step. Without it attention is a product of matrices, which needs room for all scores: too much of it for a large
 * model, which gains nothing.
 *
 * Source: measured; see docs/BENCHMARKS.md and docs/adr/0016-attention-of-small-heads.md
 * Proof:  test/unit/engine/flash-attention.test.ts
 * @module
 */
import type { GgufFacts } from '../../layers/4-model/gguf-header.ts';
import { tinyParameters } from './cpu-plan.ts';

/** Elements of a vector with AVX-512. */
const vectorElements = 64;

/** False for a tiny model whose heads fill no vector. */
export function suitsFlashAttention({ headSizes, parameters }: Pick<GgufFacts, 'headSizes' | 'parameters'>): boolean {
  return parameters >= tinyParameters || headSizes.every((size) => size >= vectorElements);
}
