/**
 * Continuous batching: one loop that decodes a token of every active answer and pieces of waiting prompts in each step.
 *
 * Promise: a cancelled answer costs at most the step that is under way; a long prompt is cut so that it does not stall
 *          the tokens of others; a reader that lags behind holds up nobody else.
 * Proof:   test/e2e/engine.test.ts
 * @module
 */
import type { Generation } from './generation.ts';
import type { Llama } from './llama.ts';
import { RequestError } from './request.ts';

/** Prompt tokens that go into a step beside the tokens of running answers. */
const sharedChunk = 128;
/** Answers that wait for a sequence; beyond that a request is refused. */
export const queueLimit = 64;

export class Scheduler {
  readonly #llama: Llama;
  readonly #now: () => number;
  readonly #waiting: Generation[] = [];
  readonly #active: Generation[] = [];
  readonly #free: number[];
  #running = false;
  /** The longest run of tokens that llama.cpp's buffers may still hold of an answer that has ended. */
  #stale = 0;
  #wake: (() => void) | undefined;

  constructor(llama: Llama, parallel: number, now: () => number) {
    this.#llama = llama;
    this.#now = now;
    this.#free = Array.from({ length: parallel }, (_, index) => parallel - 1 - index);
  }

  /** Answers that are being made or wait. */
  get load(): number {
    return this.#active.length + this.#waiting.length;
  }

  /** Whether one more answer is taken. */
  get full(): boolean {
    return this.#waiting.length >= queueLimit;
  }

  submit(generation: Generation): void {
    this.#waiting.push(generation);
    if (this.#running) {
      this.#wake?.();
      return;
    }
    this.#running = true;
    void this.#run();
  }

  /** Says that a generation was cancelled or that its reader has caught up. */
  nudge(): void {
    this.#wake?.();
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#retire();
      this.#admit();
      if (this.#active.length === 0) {
        if (this.#stale > 0) {
          await this.#scrub();
          continue;
        }
        this.#running = false;
        return;
      }
      this.#fill();
      if (this.#llama.batched === 0) {
        // Every reader lags: wait until one has caught up, has gone, or a new answer is asked for.
        await this.#pause();
        continue;
      }
      await this.#step();
    }
  }

  #retire(): void {
    for (let i = this.#waiting.length - 1; i >= 0; i -= 1) {
      const generation = this.#waiting[i];
      if (generation?.cancelled === true) {
        this.#waiting.splice(i, 1);
        generation[Symbol.dispose]();
      }
    }
    for (let i = this.#active.length - 1; i >= 0; i -= 1) {
      const generation = this.#active[i];
      if (generation === undefined) continue;
      if (!generation.over && !generation.cancelled && this.#now() > generation.deadline) {
        generation.reader.fail(new RequestError('ENGINE_TURN_TIMEOUT', 'the answer took longer than one turn may take', null, 504));
        generation.cancelled = true;
      }
      if (!generation.over && !generation.cancelled) continue;
      this.#active.splice(i, 1);
      this.#llama.forget(generation.sequence);
      this.#free.push(generation.sequence);
      generation[Symbol.dispose]();
    }
  }

  #admit(): void {
    while (this.#free.length > 0) {
      const generation = this.#waiting.shift();
      if (generation === undefined) return;
      generation.sequence = this.#free.pop() ?? 0;
      this.#active.push(generation);
    }
  }

  /** Tokens of running answers first, then pieces of prompts in turn. */
  #fill(): void {
    let running = 0;
    for (const generation of this.#active) {
      generation.logitsAt = -1;
      if (generation.promptLeft === 0 && !generation.reader.behind()) running += generation.fill(1);
    }
    let budget = running > 0 ? Math.min(sharedChunk, this.#llama.room) : this.#llama.room;
    for (const generation of this.#active) {
      if (budget === 0) break;
      if (generation.promptLeft > 0) budget -= generation.fill(budget);
    }
    // The next step begins with another prompt.
    const first = this.#active.shift();
    if (first !== undefined) this.#active.push(first);
  }

  async #step(): Promise<void> {
    this.#stale = Math.max(this.#stale, this.#llama.batched);
    const result = await this.#llama.decode();
    if (result !== 0) {
      for (const generation of this.#active) {
        if (generation.over || generation.cancelled) continue;
        generation.reader.fail(new RequestError('ENGINE_DECODE_FAILED', 'the engine could not decode this step', null, 500));
        generation.cancelled = true;
      }
      return;
    }
    for (const generation of this.#active) {
      if (!generation.cancelled && !generation.over) generation.advance();
    }
  }

  /** Overwrites the token ids of the last answers in llama.cpp's own buffers, now that nobody waits. */
  async #scrub(): Promise<void> {
    const count = this.#stale;
    this.#stale = 0;
    for (let i = 0; i < count; i += 1) this.#llama.add(0, i, 0, i === count - 1);
    await this.#llama.decode();
    this.#llama.forget(0);
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#wake = () => {
      resolve(undefined);
    };
    await promise;
    this.#wake = undefined;
  }
}
