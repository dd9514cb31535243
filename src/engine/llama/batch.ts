/**
 * The tokens of the next step, in memory that llama.cpp reads.
 *
 * Promise: token ids are overwritten after each step.
 * Source:  `struct llama_batch` of llama.cpp v0.5.0
 * @module
 */
import { plaintextMemory } from '../../base/bytes.ts';
import { bug } from '../../base/errors.ts';
import type { Pointer } from './bindings.ts';
import { addressOf } from './bindings.ts';

export class Batch {
  readonly capacity: number;
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #sequences: Int32Array;
  readonly #outputs: Int8Array;
  /** The number of sequences each token belongs to (always one), and the addresses of their ids. */
  readonly #sequenceCounts: Int32Array;
  readonly #sequenceLists: BigUint64Array;
  readonly #struct: {
    n_tokens: number;
    token: Pointer;
    embd: null;
    pos: Pointer;
    n_seq_id: Pointer;
    seq_id: Pointer;
    logits: Pointer;
  };
  #count = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#tokens = new Int32Array(plaintextMemory(4 * capacity));
    this.#positions = new Int32Array(new ArrayBuffer(4 * capacity));
    this.#sequences = new Int32Array(new ArrayBuffer(4 * capacity));
    this.#outputs = new Int8Array(new ArrayBuffer(capacity));
    this.#sequenceCounts = new Int32Array(new ArrayBuffer(4 * capacity)).fill(1);
    this.#sequenceLists = new BigUint64Array(new ArrayBuffer(8 * capacity));
    const first = addressOf(this.#sequences);
    for (let i = 0; i < capacity; i += 1) this.#sequenceLists[i] = first + BigInt(4 * i);
    this.#struct = {
      n_tokens: 0,
      token: addressOf(this.#tokens),
      embd: null,
      pos: addressOf(this.#positions),
      n_seq_id: addressOf(this.#sequenceCounts),
      seq_id: addressOf(this.#sequenceLists),
      logits: addressOf(this.#outputs),
    };
  }

  get count(): number {
    return this.#count;
  }

  get room(): number {
    return this.capacity - this.#count;
  }

  /** A `struct llama_batch` that points to this memory; valid until the next change. */
  get struct(): object {
    this.#struct.n_tokens = this.#count;
    return this.#struct;
  }

  /** Adds a token. @returns its index */
  add(token: number, position: number, sequence: number, logits: boolean): number {
    const at = this.#count;
    if (at >= this.capacity) bug('batch overflow');
    this.#tokens[at] = token;
    this.#positions[at] = position;
    this.#sequences[at] = sequence;
    this.#outputs[at] = logits ? 1 : 0;
    this.#count = at + 1;
    return at;
  }

  /** Overwrites and removes all tokens. */
  clear(): void {
    this.#tokens.fill(0, 0, this.#count);
    this.#count = 0;
  }
}
