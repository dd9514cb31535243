/**
 * Continuous batching: one loop that decodes a token of every running answer and pieces of waiting prompts in each
 * step.
 *
 * Promise: a cancelled answer costs at most the step that is under way, and not even that when it is the only one in
 *          it; prompts are cut so that a step beside running answers stays short; a reader that lags behind holds up
 *          nobody else; when nobody asks any more, what llama.cpp's buffers remember of the answers is overwritten.
 * Proof:   test/e2e/openai.test.ts, test/e2e/engine.test.ts
 * @module
 */
import { bug } from '../../base/errors.ts';
import type { Generation } from './generation.ts';
import type { LlamaModel, StepResult } from '../llama/model.ts';
import { StepTiming } from './step-timing.ts';
import { RequestError } from '../types.ts';

/** Answers that wait for a sequence; beyond that a request is refused. */
export const queueLimit = 64;
const longestPauseMs = 60_000;

/** What the scheduler needs of the world. */
export type Clock = {
  /** Milliseconds, never backwards. */
  readonly now: () => number;
  /** Calls back once after some milliseconds, unless the function that it gives is called before. */
  readonly after: (ms: number, wake: () => void) => () => void;
  /** Calls back once everything that has come in by now was read. */
  readonly next: (wake: () => void) => void;
};

export class Scheduler {
  readonly #llama: LlamaModel;
  readonly #clock: Clock;
  readonly #pace = new StepTiming();
  readonly #waiting: Generation[] = [];
  readonly #active: Generation[] = [];
  readonly #free: number[];
  /** Sequences that conversations hold between their turns. */
  readonly #held = new Set<number>();
  /** Asked for a held sequence when none is free. */
  onNeed: () => number | undefined = () => undefined;
  /** Held sequences that nobody wants any more. */
  readonly #returned: number[] = [];
  #running = false;
  /** Tokens of running answers in the batch. */
  #answers = 0;
  /** The longest step since the buffers were overwritten: so many token ids may stand there. */
  #stale = 0;
  /** Called when something has changed while the loop waits or overwrites. */
  #onChange: (() => void) | undefined;

  constructor(llama: LlamaModel, clock: Clock) {
    this.#llama = llama;
    this.#clock = clock;
    this.#free = Array.from({ length: llama.parallel }, (_, index) => llama.parallel - 1 - index);
  }

  /** Answers that are being made or wait. */
  get load(): number {
    return this.#active.length + this.#waiting.length;
  }

  /** Whether nothing of a former answer is left in llama.cpp's buffers. */
  get clean(): boolean {
    return !this.#running && this.#stale === 0;
  }

  /** Takes an answer over: it is disposed here when it ends. @throws RequestError `ENGINE_BUSY` when too many wait */
  submit(generation: Generation): void {
    if (this.#waiting.length >= queueLimit) {
      generation[Symbol.dispose]();
      throw new RequestError(
        'ENGINE_BUSY',
        'every conversation is taken and too many requests wait; try again in a moment',
        null,
        503,
      );
    }
    this.#waiting.push(generation);
    this.nudge();
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  /** Says that a generation was cancelled, that its reader has caught up, or that there is a new one. */
  nudge(): void {
    // A step that no living answer is part of need not be finished.
    if (this.#active.length > 0 && this.#active.every((generation) => generation.finished)) this.#llama.breakOff();
    this.#onChange?.();
  }

  /** Gives a held sequence back; it is cleared between steps. */
  giveBack(sequence: number): void {
    this.#returned.push(sequence);
    this.nudge();
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#retire();
      for (const sequence of this.#returned.splice(0)) this.#clear(sequence);
      this.#admit();
      if (this.#active.length === 0) {
        // What a conversation holds in the context would be overwritten too.
        if (this.#stale > 0 && this.#held.size === 0) {
          await this.#overwrite();
          continue;
        }
        this.#running = false;
        return;
      }
      this.#fill();
      // Every reader lags: wait until one has caught up, has gone or is out of time, or a new answer is asked for.
      if (this.#llama.batch.count === 0) {
        this.#deliver();
        await this.#pause();
      } else await this.#step();
    }
  }

  #retire(): void {
    const now = this.#clock.now();
    for (const generation of [...this.#active, ...this.#waiting]) {
      if (now > generation.deadline)
        generation.fail(
          new RequestError('ENGINE_TURN_TIMEOUT', 'the answer took longer than one turn may take', null, 504),
        );
    }
    for (const list of [this.#waiting, this.#active]) {
      for (let i = list.length - 1; i >= 0; i -= 1) {
        const generation = list[i];
        if (generation?.finished !== true) continue;
        list.splice(i, 1);
        const kept = generation.leave();
        if (kept) this.#held.add(generation.sequence);
        else if (generation.sequence >= 0) this.#clear(generation.sequence);
        generation[Symbol.dispose]();
      }
    }
  }

  #clear(sequence: number): void {
    this.#held.delete(sequence);
    this.#llama.forget(sequence);
    this.#free.push(sequence);
  }

  #admit(): void {
    for (;;) {
      const [generation] = this.#waiting;
      if (generation === undefined) return;
      const seat = generation.seat;
      if (seat !== undefined) this.#held.delete(seat);
      else if (this.#free.length === 0) {
        const returned = this.onNeed();
        if (returned === undefined) return;
        this.#clear(returned);
      }
      this.#waiting.shift();
      generation.enter(seat ?? this.#free.pop() ?? 0);
      this.#active.push(generation);
    }
  }

  /** Tokens of running answers first, then pieces of prompts in turn. */
  #fill(): void {
    const { batch } = this.#llama;
    this.#answers = 0;
    for (const generation of this.#active) {
      generation.rest();
      if (generation.promptLeft === 0 && !generation.reader.behind()) this.#answers += generation.fill(1);
    }
    let budget = Math.min(batch.room, this.#pace.promptTokens(this.#answers));
    for (const generation of this.#active) {
      if (budget === 0) break;
      if (generation.promptLeft > 0) budget -= generation.fill(budget);
    }
    // The next step begins with another prompt.
    const first = this.#active.shift();
    if (first !== undefined) this.#active.push(first);
  }

  #deliver(): void {
    for (const { reader } of this.#active) reader.deliver?.();
  }

  async #step(): Promise<void> {
    const tokens = this.#llama.batch.count;
    this.#stale = Math.max(this.#stale, tokens);
    const began = this.#clock.now();
    const result = this.#pace.isBrief(tokens, this.#answers) ? await this.#stepHere() : await this.#stepAside();
    if (result === 'done') {
      this.#pace.observe(tokens, this.#answers, this.#clock.now() - began);
      for (const generation of this.#active) {
        generation.settle();
        if (!generation.finished) generation.advance();
      }
      return;
    }
    // Broken off: everyone in it was finished, or joined it after that and loses a step that cannot be repeated.
    for (const generation of this.#active)
      generation.fail(new RequestError('ENGINE_DECODE_FAILED', 'the engine could not decode this step', null, 500));
  }

  /** A short step: waking another thread, and being woken by it, would take a good part of its time. */
  async #stepHere(): Promise<StepResult> {
    this.#deliver();
    await new Promise<void>((resolve) => {
      this.#clock.next(resolve);
    });
    return this.#llama.decodeHere();
  }

  /** A long step: what the one before said goes out while it is computed, and it can be broken off. */
  async #stepAside(): Promise<StepResult> {
    const step = this.#llama.decode();
    this.#deliver();
    return await step;
  }

  /**
   * Overwrites what llama.cpp holds of the answers that have ended: keys and values, and by a step of the same size the
   * token ids and everything computed from them. A new answer does not wait for it.
   */
  async #overwrite(): Promise<void> {
    const { batch } = this.#llama;
    const count = this.#stale;
    let broken = false;
    this.#onChange = () => {
      broken = true;
      this.#llama.breakOff();
    };
    this.#llama.erase();
    // It remembers the last step with logits and the last one without, each apart.
    batch.add(0, 0, 0, false);
    const first = await this.#llama.decode();
    for (let i = 0; i < count; i += 1) batch.add(0, i + 1, 0, i >= count - this.#llama.parallel);
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it may change while the step is awaited
    const second = broken ? 'broken off' : await this.#llama.decode();
    batch.clear();
    this.#onChange = undefined;
    this.#llama.forget(0);
    if (first === 'failed' || second === 'failed') bug('a step over nothing failed'); // what is left is gone with this process
    if (first === 'done' && second === 'done') this.#stale = 0;
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const wake = () => {
      resolve(undefined);
    };
    const deadline = Math.min(...[...this.#active, ...this.#waiting].map((generation) => generation.deadline));
    const cancel = this.#clock.after(Math.min(longestPauseMs, Math.max(1, deadline - this.#clock.now() + 1)), wake);
    this.#onChange = wake;
    await promise;
    this.#onChange = undefined;
    cancel();
  }
}
