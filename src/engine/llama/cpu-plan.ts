/**
 * How many threads decode. ggml's threads spin: more of them than free cores collapses generation.
 *
 * Source: measured; see docs/BENCHMARKS.md
 * Proof:  test/e2e/openai.test.ts
 * @module
 */

/** Below this many parameters a step is so short that handing work to another thread costs more than the work. */
export const tinyParameters = 50_000_000;

/**
 * The default for a machine: one for a tiny model, else every physical core; from four on, one is left to the gateway
 * and to whatever else runs.
 */
export function threadPlan(cores: number, parameters: number): number {
  if (parameters < tinyParameters) return 1;
  return Math.max(1, cores >= 4 ? cores - 1 : cores);
}

/**
 * Physical cores by the lists of siblings of the logical ones (`0,4` or `0-1`), at most as many as this process may
 * use. Without any list every logical core counts.
 */
export function physicalCores(siblings: readonly string[], usable: number): number {
  const distinct = new Set(siblings.map((list) => list.trim()).filter((list) => list !== ''));
  return Math.max(1, Math.min(usable, distinct.size === 0 ? usable : distinct.size));
}
