/**
 * Continuous batching: each step decodes one token from every running completion, plus pieces of waiting prompts.
 *
 * Promise: a cancelled generation costs at most the running step, which is aborted if it contains nothing else. Prompts
 *          are split so that a step with running completions stays short. A slow client does not delay other clients.
 *          When the server becomes idle, llama.cpp's buffers are overwritten.
 * Proof:   test/e2e/openai.test.ts, test/e2e/engine.test.ts
 * @module
 */
import { bug } from '../../base/errors.ts';
import type { LlamaModel, StepResult } from '../llama/model.ts';
import { RequestError } from '../types.ts';
import type { Generation, ParkedState } from './generation.ts';
import { StepTiming } from './step-timing.ts';

/** Maximum number of generations waiting for a slot; further ones are refused. @internal */
export const queueLimit = 64;
const longestPauseMs = 60_000;

/** Access to time and the event loop. */
type Clock = {
  /** Returns the monotonic time in milliseconds. */
  readonly now: () => number;
  /** Calls `wake` once after `ms` milliseconds. @returns a function that cancels it */
  readonly after: (ms: number, wake: () => void) => () => void;
  /** Calls `wake` once all input that has arrived so far has been handled. */
  readonly next: (wake: () => void) => void;
};

export class Scheduler {
  readonly #llama: LlamaModel;
  readonly #clock: Clock;
  readonly #timing = new StepTiming();
  readonly #waiting: Generation[] = [];
  readonly #active: Generation[] = [];
  readonly #free: number[];
  /** Conversation states that stay in their slots between turns, by slot. */
  readonly #parked = new Map<number, ParkedState>();
  /** Formerly parked slots to clear before the next step. */
  readonly #released: number[] = [];
  #running = false;
  /** Number of tokens in the batch that belong to running completions. */
  #completionTokens = 0;
  /** Size of the largest step since llama.cpp's buffers were overwritten. They hold at most this many token ids. */
  #staleTokens = 0;
  /** Called when something changes while the loop is paused or overwriting. */
  #onChange: (() => void) | undefined;

  constructor(llama: LlamaModel, clock: Clock) {
    this.#llama = llama;
    this.#clock = clock;
    this.#free = Array.from({ length: llama.parallel }, (_, index) => llama.parallel - 1 - index);
  }

  /** Number of running and waiting generations. */
  get load(): number {
    return this.#active.length + this.#waiting.length;
  }

  /** Whether llama.cpp's buffers hold no data from an earlier generation. */
  get clean(): boolean {
    return !this.#running && this.#staleTokens === 0;
  }

  /** Takes ownership of a generation until its end. @throws RequestError `ENGINE_BUSY` if the queue is full */
  submit(generation: Generation): void {
    if (this.#waiting.length >= queueLimit) {
      generation[Symbol.dispose]();
      throw new RequestError('ENGINE_BUSY', 'the queue is full; try again in a moment', null, 503);
    }
    this.#waiting.push(generation);
    this.nudge();
    this.#start();
  }

  /** Reacts to a new or cancelled generation, or to a client that has caught up. */
  nudge(): void {
    if (this.#active.length > 0 && this.#active.every((generation) => generation.finished)) this.#llama.abortStep();
    this.#onChange?.();
  }

  /** Frees the slot of a parked state. The slot is cleared between steps. */
  release(slot: number): void {
    this.#parked.delete(slot);
    this.#released.push(slot);
    this.nudge();
    this.#start();
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#retire();
      for (const slot of this.#released.splice(0)) this.#clear(slot);
      this.#admit();
      if (this.#active.length === 0) {
        // Overwriting the KV cache would destroy parked states.
        if (this.#staleTokens > 0 && this.#parked.size === 0) {
          await this.#overwrite();
          continue;
        }
        this.#running = false;
        return;
      }
      this.#fill();
      // There is nothing to decode because every client is too slow.
      if (this.#llama.batch.count === 0) {
        this.#flush();
        await this.#pause();
      } else await this.#step();
    }
  }

  #retire(): void {
    const now = this.#clock.now();
    for (const generation of [...this.#active, ...this.#waiting]) {
      if (now > generation.deadline)
        generation.fail(
          new RequestError('ENGINE_TURN_TIMEOUT', 'the completion exceeded the time limit for a turn', null, 504),
        );
    }
    for (const list of [this.#waiting, this.#active]) {
      for (let i = list.length - 1; i >= 0; i -= 1) {
        const generation = list[i];
        if (generation?.finished !== true) continue;
        list.splice(i, 1);
        const parked = generation.detach();
        if (parked !== undefined) this.#parked.set(generation.slot, parked);
        else if (generation.slot >= 0) this.#clear(generation.slot);
        generation[Symbol.dispose]();
      }
    }
  }

  #clear(slot: number): void {
    this.#llama.forget(slot);
    this.#free.push(slot);
  }

  #admit(): void {
    for (;;) {
      const [generation] = this.#waiting;
      if (generation === undefined) return;
      const resident = generation.residentSlot;
      if (resident !== undefined) this.#parked.delete(resident);
      else if (this.#free.length === 0 && !this.#reclaimSlot()) return;
      this.#waiting.shift();
      generation.attach(resident ?? this.#free.pop() ?? 0);
      this.#active.push(generation);
    }
  }

  /** Seals a parked state, preferably an idle conversation's, and frees its slot. @returns whether there was one */
  #reclaimSlot(): boolean {
    let victim: readonly [slot: number, state: ParkedState] | undefined;
    for (const entry of this.#parked) if (victim === undefined || (!victim[1].idle && entry[1].idle)) victim = entry;
    if (victim === undefined) return false;
    const [slot, state] = victim;
    this.#parked.delete(slot);
    state.seal();
    this.#clear(slot);
    return true;
  }

  /** Fills the batch with tokens of running completions first, then with pieces of prompts, round robin. */
  #fill(): void {
    const { batch } = this.#llama;
    this.#completionTokens = 0;
    for (const generation of this.#active) {
      generation.beginStep();
      if (generation.promptLeft === 0 && !generation.sink.congested()) this.#completionTokens += generation.fill(1);
    }
    let budget = Math.min(batch.room, this.#timing.promptTokens(this.#completionTokens));
    for (const generation of this.#active) {
      if (budget === 0) break;
      if (generation.promptLeft > 0) budget -= generation.fill(budget);
    }
    // The next step starts with a different prompt.
    const first = this.#active.shift();
    if (first !== undefined) this.#active.push(first);
  }

  #flush(): void {
    for (const { sink } of this.#active) sink.flush?.();
  }

  async #step(): Promise<void> {
    const tokens = this.#llama.batch.count;
    this.#staleTokens = Math.max(this.#staleTokens, tokens);
    const began = this.#clock.now();
    const brief = this.#timing.isBrief(tokens, this.#completionTokens);
    const result = brief ? await this.#stepOnThread() : await this.#stepOffThread();
    if (result === 'done') {
      this.#timing.observe(tokens, this.#completionTokens, this.#clock.now() - began);
      for (const generation of this.#active) {
        generation.settle();
        if (!generation.finished) generation.advance();
      }
      return;
    }
    // The step cannot be repeated, so every generation that has not finished fails.
    for (const generation of this.#active)
      generation.fail(new RequestError('ENGINE_DECODE_FAILED', 'the engine could not decode this step', null, 500));
  }

  /** Runs a short step on this thread, because dispatching it to another would cost a large part of its time. */
  async #stepOnThread(): Promise<StepResult> {
    this.#flush();
    await new Promise<void>((resolve) => {
      this.#clock.next(resolve);
    });
    return this.#llama.decodeHere();
  }

  /** Runs a long step on another thread. Meanwhile the last step's text is sent, and the step can be aborted. */
  async #stepOffThread(): Promise<StepResult> {
    const step = this.#llama.decode();
    this.#flush();
    return await step;
  }

  /**
   * Overwrites the data of ended generations in llama.cpp. The KV cache is erased. Token ids and everything
   * computed from them are overwritten by a step of the same size over token 0. A new generation aborts that step.
   */
  async #overwrite(): Promise<void> {
    const { batch } = this.#llama;
    const count = this.#staleTokens;
    let aborted = false;
    this.#onChange = () => {
      aborted = true;
      this.#llama.abortStep();
    };
    this.#llama.erase();
    // llama.cpp keeps the last step with logits and the last step without, each in its own graph.
    batch.add(0, 0, 0, false);
    const first = await this.#llama.decode();
    for (let i = 0; i < count; i += 1) batch.add(0, i + 1, 0, i >= count - this.#llama.parallel);
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it may change while the step is awaited
    const second = aborted ? 'aborted' : await this.#llama.decode();
    batch.clear();
    this.#onChange = undefined;
    this.#llama.forget(0);
    // On failure the process ends, which erases what is left.
    if (first === 'failed' || second === 'failed') bug('decoding the overwriting step failed');
    if (first === 'done' && second === 'done') this.#staleTokens = 0;
  }

  /** Waits until a client has caught up or disconnected, a deadline has passed, or a new generation arrives. */
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
