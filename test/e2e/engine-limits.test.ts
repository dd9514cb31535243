/* eslint-disable @typescript-eslint/no-unnecessary-condition */
/**
 * A real engine process behind its jail: cancellation, slow readers, queues, deadlines, breaches, and what is left in
 * memory.
 * @module
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeRequestOpen, initialCreditBytes } from '../../src/wire/data-payloads.ts';
import { dataMessages } from '../../src/wire/messages.ts';
import type { EngineProcess } from '../support/engine.ts';
import { events, startEngine, served } from '../support/engine.ts';
import { benchShape, tinyShape, writeChain, writeModel } from '../support/gguf.ts';
import { assertWithin } from '../support/time-bounds.ts';

const folder = mkdtempSync(join(tmpdir(), 'kwyre-engine-'));
const file = (name: string) => join(folder, name);
const user = (content: string) => [{ role: 'user', content }];
const longContext = { 'llama.context_length': { u32: 16_384 } } as const;

before(() => {
  chmodSync(folder, 0o755); // the engine is another user
  writeModel(file('noise.gguf'), tinyShape);
  writeChain(file('loop.gguf'), 'abcdefghij', false, longContext);
  // Slow enough that a step of a prompt takes its time, small enough to be written in a moment.
  writeModel(file('slow.gguf'), { ...benchShape, layers: 4, vocabulary: 4096 });
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Processor time that a process has used, in milliseconds. */
function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

const textOf = (body: string) =>
  events(body)
    .map((chunk) => chunk.choices[0]?.delta.content ?? '')
    .join('');

describe('X-11: a client that is gone costs nothing', () => {
  test('an aborted answer gives its sequence free at once, and the engine rests', async () => {
    await served({ model: file('loop.gguf'), config: { parallel: 1, contextTokens: 16_384 } }, async (engine) => {
      for (let round = 0; round < 3; round += 1) {
        const endless = engine.ask({
          body: { model: 'test', stream: true, messages: user('on and on'), temperature: 0 },
        });
        await endless.first;
        endless.abort();
        const began = performance.now();
        assert.equal(
          (await engine.chat({ messages: user('x'), temperature: 0, max_tokens: 3 })).json.choices[0]?.message.content,
          'abc',
        );
        assertWithin('a free sequence after an abort', performance.now() - began, 1000);
      }
      await sleep(300);
      const before = cpuMs(engine.pid);
      await sleep(500);
      assert.ok(cpuMs(engine.pid) - before < 100, 'nothing is decoded for nobody');
    });
  });

  test('a long step is broken off when nobody waits for it any more', async () => {
    await served({ model: file('slow.gguf'), config: { parallel: 1, contextTokens: 4096 } }, async (engine) => {
      const prompt = engine.ask({ body: { model: 'test', messages: user('long '.repeat(780)), max_tokens: 1 } });
      await sleep(400); // it is in the middle of its prompt
      prompt.abort();
      const began = performance.now();
      await engine.chat({ messages: user('x'), max_tokens: 1 });
      assertWithin('the end of a long step', performance.now() - began, 1000);
    });
  });

  test('requests that wait in the queue leave it without a trace', async () => {
    await served({ model: file('loop.gguf'), config: { parallel: 1, contextTokens: 16_384 } }, async (engine) => {
      const first = engine.ask({ body: { model: 'test', stream: true, messages: user('hold'), temperature: 0 } });
      await first.first;
      const waiting = Array.from({ length: 20 }, () =>
        engine.ask({ body: { model: 'test', messages: user('wait'), temperature: 0, max_tokens: 2 } }),
      );
      const kept = waiting[19];
      for (const one of waiting.slice(0, 19)) one.abort();
      first.abort();
      assert.equal((await kept?.answer)?.status, 200);
    });
  });
});

describe('readers', () => {
  test('a slow reader gets no more than its credit, holds up nobody, and loses nothing', async () => {
    await served({ model: file('loop.gguf'), config: { parallel: 2, contextTokens: 8192 } }, async (engine) => {
      const slow = engine.ask({
        body: { model: 'test', stream: true, messages: user('slow'), temperature: 0, max_tokens: 3000 },
        manualCredit: true,
      });
      await slow.first;
      while (slow.received() < initialCreditBytes) await sleep(20);
      await sleep(300);
      assert.equal(slow.received(), initialCreditBytes, 'not one byte more');
      const began = performance.now();
      assert.equal(
        (await engine.chat({ messages: user('quick'), temperature: 0, max_tokens: 5 })).json.choices[0]?.message
          .content,
        'abcde',
      );
      assertWithin('an answer beside a slow reader', performance.now() - began, 1000);
      const before = cpuMs(engine.pid);
      await sleep(500);
      assert.ok(cpuMs(engine.pid) - before < 100, 'it waits without turning');
      slow.grant(1 << 30);
      const { text } = await slow.answer;
      assert.equal(textOf(text), 'abcdefghij'.repeat(300));
    });
  });

  test('the tokens of one answer come on time beside the long prompt of another', async () => {
    await served({ model: file('slow.gguf'), config: { parallel: 2, contextTokens: 4096 } }, async (engine) => {
      await engine.chat({ messages: user('learn the pace '.repeat(20)), max_tokens: 4 });
      const talk = engine.ask({
        body: {
          model: 'test',
          stream: true,
          messages: user('talk'),
          temperature: 0,
          max_tokens: 400,
          logit_bias: { 258: -100 },
        },
      });
      await talk.first;
      let worst = 0;
      let last = performance.now();
      let seen = talk.received();
      const prompt = engine.ask({ body: { model: 'test', messages: user('long '.repeat(300)), max_tokens: 1 } });
      let done = false;
      void prompt.answer.then(() => (done = true));
      while (!done) {
        await sleep(2);
        if (talk.received() === seen) continue;
        seen = talk.received();
        worst = Math.max(worst, performance.now() - last);
        last = performance.now();
      }
      talk.abort();
      assertWithin('the longest gap between tokens', worst, 1000);
    });
  });
});

describe('bounds', () => {
  test('too many waiting requests are refused with a 503, and the others answered', async () => {
    await served({ model: file('loop.gguf'), config: { parallel: 1, contextTokens: 2048 } }, async (engine) => {
      const asked = Array.from({ length: 90 }, () =>
        engine.ask({ body: { model: 'test', messages: user('x'), temperature: 0, max_tokens: 2 } }),
      );
      const answers = await Promise.all(asked.map((one) => one.answer));
      const refused = answers.filter((answer) => answer.status === 503);
      assert.ok(refused.length > 0 && refused.length <= 26);
      for (const { text } of refused)
        assert.equal((JSON.parse(text) as { error: { code: string } }).error.code, 'engine_busy');
      assert.equal(answers.filter((answer) => answer.status === 200).length, 90 - refused.length);
    });
  });

  test('a turn has an end, also for a reader that has stopped reading', async () => {
    await served(
      { model: file('loop.gguf'), config: { parallel: 2, contextTokens: 16_384, turnSeconds: 1 } },
      async (engine) => {
        const idle = engine.ask({
          body: { model: 'test', stream: true, messages: user('idle'), temperature: 0 },
          manualCredit: true,
        });
        await idle.first;
        await sleep(2500);
        idle.grant(1 << 30);
        const { text } = await idle.answer;
        assert.match(text, /"code":"engine_turn_timeout"/);
        assert.equal((await engine.chat({ messages: user('x'), temperature: 0, max_tokens: 1 })).status, 200);
      },
    );
  });
});

describe('a gateway that breaks the rules', () => {
  const open = (bodyLength: number) =>
    encodeRequestOpen({
      route: 1,
      principal: Buffer.alloc(16),
      bodyLength,
      parameter: '',
      session: '',
      operator: false,
    });
  const breaches: Record<string, (engine: EngineProcess) => void> = {
    'more body than declared': (engine) => {
      engine.send(dataMessages.requestOpen, open(2), 7);
      engine.send(dataMessages.requestBody, Buffer.from('{}}'), 7);
    },
    'less body than declared': (engine) => {
      engine.send(dataMessages.requestOpen, open(3), 7);
      engine.send(dataMessages.requestEnd, Buffer.alloc(0), 7);
    },
    'a stream opened twice': (engine) => {
      engine.send(dataMessages.requestOpen, open(3), 7);
      engine.send(dataMessages.requestOpen, open(3), 7);
    },
    'a body beyond every limit': (engine) => {
      engine.send(dataMessages.requestOpen, open(0xffffffff), 7);
    },
    'more requests than may be open': (engine) => {
      for (let i = 1; i < 300; i += 1) engine.send(dataMessages.requestOpen, open(1), i);
    },
    'a route that does not exist': (engine) => {
      engine.send(dataMessages.requestOpen, Buffer.alloc(24, 9), 7);
    },
    'a message of the other direction': (engine) => {
      engine.send(dataMessages.responseEnd, Buffer.alloc(0), 7);
    },
  };
  for (const [name, act] of Object.entries(breaches)) {
    test(`${name} ends the engine at once`, async () => {
      const engine = await startEngine({ model: file('loop.gguf') });
      act(engine);
      assert.deepEqual(await engine.ended, { code: 70, signal: null });
    });
  }
});
