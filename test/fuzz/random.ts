/**
 * Random numbers of a fuzz run: the same for the same seed.
 * @module
 */

/** Marsaglia's xorshift. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed | 1) >>> 0;
  }

  readonly below = (limit: number): number => {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    this.#state >>>= 0;
    return this.#state % limit;
  };

  readonly pick = <T>(list: readonly T[]): T => list[this.below(list.length)]!;
}

/** Rounds and seed from the command line, from argument `first` on. */
export function readRounds(first: number, rounds: number, usage: string): { rounds: number; seed: number } {
  const read = {
    rounds: Number(process.argv[first] ?? rounds),
    seed: Number(process.argv[first + 1] ?? Date.now() % 2 ** 31),
  };
  if (!(read.rounds > 0) || !Number.isInteger(read.seed)) throw new Error(`usage: ${usage} [rounds] [seed]`);
  return read;
}
