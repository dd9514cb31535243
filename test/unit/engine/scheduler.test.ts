/**
 * Continuous batching with a real model: order, fairness, cancellation, deadlines, and that nothing is left.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Task } from '../../../src/engine/inference/generation.ts';
import { Generation } from '../../../src/engine/inference/generation.ts';
import type { LlamaModel } from '../../../src/engine/llama/model.ts';
import { StepTiming } from '../../../src/engine/inference/step-timing.ts';
import type { RequestError } from '../../../src/engine/types.ts';
import { queueLimit, Scheduler } from '../../../src/engine/inference/scheduler.ts';
import { PromptTokenizer } from '../../../src/engine/llama/prompt-tokenizer.ts';
import { writeChain } from '../../support/gguf.ts';
import { load, plainSampling, scratch } from '../../support/native.ts';
import { assertWithin } from '../../support/time-bounds.ts';

const folder = scratch();
const clock = {
  now: () => performance.now(),
  after: (ms: number, wake: () => void) => {
    const timer = setTimeout(wake, ms);
    return () => {
      clearTimeout(timer);
    };
  },
  next: setImmediate,
};

/** A sink that keeps what it receives. */
class RecordingSink {
  text = '';
  ending = '';
  congestedNow = false;
  onContent: () => void = () => undefined;
  readonly done = Promise.withResolvers<undefined>();
  content(bytes: Uint8Array): void {
    this.text += Buffer.from(bytes).toString('utf8');
    this.onContent();
  }
  finish(reason: string): void {
    this.ending = reason;
    this.done.resolve(undefined);
  }
  fail(error: RequestError): void {
    this.ending = error.code;
    this.done.resolve(undefined);
  }
  congested(): boolean {
    return this.congestedNow;
  }
}

let llama: LlamaModel;
let scheduler: Scheduler;
before(async () => {
  writeChain(join(folder, 'loop.gguf'), 'abcdefghij', false);
  llama = await load(join(folder, 'loop.gguf'), { parallel: 2, contextTokens: 512, batchTokens: 64 });
});
beforeEach(() => {
  scheduler = new Scheduler(llama, clock);
});

async function submit(
  prompt: string,
  more: Partial<Task> = {},
  sink = new RecordingSink(),
): Promise<{ sink: RecordingSink; generation: Generation }> {
  const run = await new PromptTokenizer(llama).encode([{ kind: 'text', bytes: Buffer.from(prompt) }]);
  const generation = new Generation(
    llama,
    {
      prompt: run,
      sampling: plainSampling,
      seed: 1,
      maxTokens: 10,
      stop: [],
      deadline: Number.POSITIVE_INFINITY,
      ...more,
    },
    sink,
  );
  scheduler.submit(generation);
  return { sink, generation };
}

/** Waits until the scheduler is idle and has overwritten llama.cpp's buffers. */
async function rest(): Promise<void> {
  for (let i = 0; i < 200 && !scheduler.clean; i += 1) await sleep(10);
  assert.ok(scheduler.clean && scheduler.load === 0);
}

describe('completions', () => {
  test('more than there are slots, with prompts longer than a step', async () => {
    const all = await Promise.all(
      Array.from({ length: 7 }, async (_, i) => await submit(`${'x'.repeat(i * 60)}\n`, { maxTokens: 3 + i })),
    );
    for (const [i, { sink }] of all.entries()) {
      await sink.done.promise;
      assert.deepEqual([sink.text, sink.ending], ['abcdefghij'.slice(0, 3 + i), 'length']);
    }
    await rest();
  });

  test('the prompt is overwritten as it is decoded, and all of it at the end', async () => {
    const run = await new PromptTokenizer(llama).encode([{ kind: 'text', bytes: Buffer.from('secret words\n') }]);
    const sink = new RecordingSink();
    let during: number[] = [];
    sink.onContent = () => {
      during = [...run.tokens];
    };
    scheduler.submit(
      new Generation(
        llama,
        { prompt: run, sampling: plainSampling, seed: 1, maxTokens: 3, stop: [], deadline: Number.POSITIVE_INFINITY },
        sink,
      ),
    );
    await sink.done.promise;
    assert.ok(during.every((token) => token === 0));
    await rest();
  });
});

describe('cancellation', () => {
  test('not one more token is emitted', async () => {
    const { sink, generation } = await submit('go\n', { maxTokens: null });
    let after = 0;
    sink.onContent = () => {
      if (generation.cancelled) after += 1;
      if (generation.completionTokens === 20) {
        generation.cancelled = true;
        scheduler.nudge();
      }
    };
    await rest();
    assert.deepEqual([after, generation.completionTokens, sink.ending], [0, 20, '']);
  });

  test('a waiting generation never begins', async () => {
    const running = [await submit('a\n', { maxTokens: 200 }), await submit('b\n', { maxTokens: 200 })];
    const { sink, generation } = await submit('c\n');
    generation.cancelled = true;
    scheduler.nudge();
    await Promise.all(
      running.map(async (one) => {
        await one.sink.done.promise;
      }),
    );
    await rest();
    assert.deepEqual([sink.text, generation.slot], ['', -1]);
  });

  test('others are not disturbed', async () => {
    const { sink: kept } = await submit('a\n', { maxTokens: 100 });
    const { sink, generation } = await submit('b\n', { maxTokens: 100 });
    sink.onContent = () => {
      generation.cancelled = true;
      scheduler.nudge();
    };
    await kept.done.promise;
    assert.equal(kept.text, 'abcdefghij'.repeat(10));
    await rest();
  });
});

describe('slow clients and deadlines', () => {
  test('a generation waits for its client and continues where it stopped', async () => {
    const { sink } = await submit('a\n', { maxTokens: 30 });
    sink.onContent = () => {
      sink.congestedNow = sink.text.length === 7;
    };
    await sleep(200);
    assert.equal(sink.text, 'abcdefg');
    const other = await submit('b\n', { maxTokens: 5 });
    await other.sink.done.promise;
    assert.equal(other.sink.text, 'abcde');
    sink.congestedNow = false;
    sink.onContent = () => undefined;
    scheduler.nudge();
    await sink.done.promise;
    assert.equal(sink.text, 'abcdefghij'.repeat(3));
    await rest();
  });

  test('a deadline ends a generation that runs, waits for its client, or waits for a slot', async () => {
    const stuck = new RecordingSink();
    stuck.congestedNow = true;
    const started = performance.now();
    const soon = started + 150;
    const held = [
      await submit('a\n', { maxTokens: null, deadline: soon }, stuck),
      await submit(
        'b\n',
        { maxTokens: null, deadline: started + 300 },
        Object.assign(new RecordingSink(), { congestedNow: true }),
      ),
      await submit('c\n', { deadline: soon }),
    ];
    for (const { sink } of held) await sink.done.promise;
    assert.deepEqual(
      held.map(({ sink }) => sink.ending),
      Array(3).fill('ENGINE_TURN_TIMEOUT'),
    );
    assertWithin('the end of turns past their deadline', performance.now() - started, 2000);
    await rest();
  });

  test('a request is refused if the queue is full', async () => {
    const held = Array.from({ length: queueLimit + 2 }, () =>
      Object.assign(new RecordingSink(), { congestedNow: true }),
    );
    const generations: Generation[] = [];
    for (const sink of held) {
      generations.push((await submit('x\n', {}, sink)).generation);
      await sleep(1); // let the first two take their slots
    }
    await assert.rejects(submit('one more\n'), { code: 'ENGINE_BUSY', status: 503 });
    for (const generation of generations) generation.cancelled = true;
    scheduler.nudge();
    await rest();
  });
});

test('a new generation does not wait for overwriting', async () => {
  const first = await submit(`${'x'.repeat(400)}\n`, { maxTokens: 1 });
  await first.sink.done.promise;
  const second = await submit('y\n', { maxTokens: 4 });
  await second.sink.done.promise;
  assert.equal(second.sink.text, 'abcd');
  await rest();
});

describe('step timing', () => {
  test('a step without prompts is brief if the last one was; the first one and every one with a prompt is not', () => {
    const timing = new StepTiming();
    assert.equal(timing.isBrief(1, 1), false);
    timing.observe(1, 1, 13);
    assert.equal(timing.isBrief(1, 1), true);
    assert.equal(timing.isBrief(4, 4), true);
    assert.equal(timing.isBrief(5, 5), false);
    assert.equal(timing.isBrief(5, 4), false);
    timing.observe(4, 4, 400);
    assert.equal(timing.isBrief(1, 1), false);
  });

  test('prompt pieces are small beside completions and large alone; steps of few tokens are no measure', () => {
    const timing = new StepTiming();
    assert.ok(timing.promptTokens(1) <= 64);
    for (let i = 0; i < 20; i += 1) timing.observe(128, 0, 512); // 4 ms a token
    assert.equal(timing.promptTokens(2), 16);
    assert.equal(timing.promptTokens(0), 240);
    for (let i = 0; i < 50; i += 1) timing.observe(128, 0, 12.8);
    assert.equal(timing.promptTokens(1), 992);
    for (let i = 0; i < 50; i += 1) timing.observe(2, 2, 900);
    assert.equal(timing.promptTokens(1), 992, 'a step of few tokens is no measure of prompts');
    for (let i = 0; i < 50; i += 1) timing.observe(64, 1, 64_000);
    assert.equal(timing.promptTokens(1), 16, 'it always makes progress');
  });
});
