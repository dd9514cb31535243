/**
 * The official `openai` client, unchanged: streams, usage, typed errors, abort.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI from 'openai';
import { startServer } from '../support/server.ts';
import type { Server } from '../support/server.ts';

let server: Server;
let client: OpenAI;
before(async () => {
  server = await startServer();
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: server.token, maxRetries: 0 });
});
after(async () => {
  await server.stop();
});

const messages = [{ role: 'user' as const, content: 'What does layer 5 do?' }];

test('a completion has content, a finish reason and usage that adds up', async () => {
  const completion = await client.chat.completions.create({
    model: 'guide',
    messages,
    temperature: 0,
    max_tokens: 200,
  });
  const choice = completion.choices[0]!;
  assert.equal(completion.object, 'chat.completion');
  assert.equal(choice.message.role, 'assistant');
  assert.ok((choice.message.content ?? '').length > 20);
  assert.equal(choice.finish_reason, 'stop');
  const { usage } = completion;
  assert.ok(usage && usage.prompt_tokens > 5 && usage.completion_tokens > 5);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
});

test('a stream gives the same text as the whole answer, and usage in its last chunk when asked', async () => {
  const whole = await client.chat.completions.create({ model: 'guide', messages, temperature: 0, max_tokens: 200 });
  const stream = await client.chat.completions.create({
    model: 'guide',
    messages,
    temperature: 0,
    max_tokens: 200,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = '';
  let usage: OpenAI.CompletionUsage | null | undefined;
  let finish: string | null | undefined;
  for await (const chunk of stream) {
    assert.equal(chunk.object, 'chat.completion.chunk');
    text += chunk.choices[0]?.delta.content ?? '';
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0]?.message.content);
  assert.equal(finish, 'stop');
  assert.deepEqual(usage, whole.usage);
});

test('multi-turn, system prompt and text parts', async () => {
  const completion = await client.chat.completions.create({
    model: 'guide',
    temperature: 0,
    max_tokens: 60,
    messages: [
      { role: 'system', content: 'You answer questions about Kwyre.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What does layer 1' },
          { type: 'text', text: ' do?' },
        ],
      },
      { role: 'assistant', content: 'Layer 1 keeps the server on 127.0.0.1.' },
      { role: 'user', content: 'and layer 5?' },
    ],
  });
  assert.ok((completion.choices[0]!.message.content ?? '').length > 0);
});

test('stop strings, max_tokens, seed and logit_bias do what they say', async () => {
  const full = (await client.chat.completions.create({ model: 'guide', messages, temperature: 0, max_tokens: 200 }))
    .choices[0]!.message.content!;
  const word = full.split(' ')[3]!;
  const stopped = await client.chat.completions.create({
    model: 'guide',
    messages,
    temperature: 0,
    max_tokens: 200,
    stop: [word],
  });
  assert.equal(stopped.choices[0]!.message.content, full.slice(0, full.indexOf(word)));
  assert.equal(stopped.choices[0]?.finish_reason, 'stop');
  const short = await client.chat.completions.create({ model: 'guide', messages, temperature: 0, max_tokens: 3 });
  assert.equal(short.choices[0]?.finish_reason, 'length');
  assert.equal(short.usage?.completion_tokens, 3);
  const seeded = async () =>
    (await client.chat.completions.create({ model: 'guide', messages, temperature: 2, seed: 7, max_tokens: 40 }))
      .choices[0]!.message.content;
  assert.equal(await seeded(), await seeded());
});

test('typed errors: 401, 400 that names the field, 404', async () => {
  await assert.rejects(
    new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'wrong', maxRetries: 0 }).models.list(),
    OpenAI.AuthenticationError,
  );
  await assert.rejects(client.chat.completions.create({ model: 'guide', messages, temperature: 9 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, 'temperature');
    return true;
  });
  await assert.rejects(
    client.chat.completions.create({
      model: 'guide',
      messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://evil.example/x.png' } }] }],
    }),
    OpenAI.BadRequestError,
  );
  await assert.rejects(
    client.chat.completions.create({ model: 'guide', messages: [{ role: 'user', content: 'long '.repeat(20_000) }] }),
    (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.code, 'context_length_exceeded');
      return true;
    },
  );
  await assert.rejects(client.models.retrieve('no-such-model'), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model: 'gpt-unknown', messages }), OpenAI.NotFoundError);
});

test('the list of models is the one that is served', async () => {
  const page = await client.models.list();
  assert.deepEqual(
    page.data.map((model) => model.id),
    ['guide'],
  );
  assert.equal((await client.models.retrieve('guide')).object, 'model');
});

/** Processor time of a process so far, in clock ticks (10 ms). */
function ticks(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

test('X-11 an aborted stream stops the work within a second', async () => {
  const stream = await client.chat.completions.create({
    model: 'guide',
    messages,
    temperature: 1.8,
    max_tokens: 900,
    stream: true,
  });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content !== undefined) break;
  }
  stream.controller.abort();
  await sleep(1000);
  const engine = server.pids()['engine']!;
  const before = ticks(engine);
  await sleep(500);
  assert.ok(ticks(engine) - before <= 3, 'the engine still works for a client that is gone');
});
