/**
 * How many threads decode. ggml's threads spin: more of them than free cores collapses generation.
 * @module
 */

/** Below this many parameters one thread is the fastest: handing work over costs more than the work. */
const tinyParameters = 50_000_000;

/** The default for a machine: one for a tiny model, else every core, from eight cores on all but one. */
export function planThreads(cores: number, parameters: number): number {
  if (parameters < tinyParameters) return 1;
  return Math.max(1, cores >= 8 ? cores - 1 : cores);
}
