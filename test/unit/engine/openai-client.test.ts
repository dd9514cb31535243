/**
 * The official client, unmodified, reads the responses; its `fetch` is replaced by a function in this process.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { ByteWriter } from '../../../src/engine/bytes/byte-writer.ts';
import { parseChatRequest } from '../../../src/engine/api/chat-request.ts';
import { RequestError } from '../../../src/engine/types.ts';
import {
  writeCompletion,
  ContentChunks,
  writeDone,
  writeError,
  writeErrorEvent,
  writeFinishChunk,
  writeModel,
  writeModels,
  writeRoleChunk,
  writeUsageChunk,
} from '../../../src/engine/api/response-json.ts';

const head = { id: 'chatcmpl-00ff', created: 1_700_000_000, model: 'guide' };
const usage = { promptTokens: 9, completionTokens: 4 };
const words = ['Caf\u00e9 ', '"quoted"\n', '\u{1f512}', '\\end'];

/** A client whose requests are parsed by the schema and get these bytes as response. */
function client(write: (out: ByteWriter) => void, status = 200, type = 'application/json'): OpenAI {
  const answer = async (_url: unknown, init?: { body?: unknown }) => {
    if (typeof init?.body === 'string') parseChatRequest(Buffer.from(init.body))[Symbol.dispose]();
    const out = new ByteWriter();
    write(out);
    return new Response(new Uint8Array(out.view()), { status, headers: { 'content-type': type } });
  };
  return new OpenAI({ baseURL: 'http://127.0.0.1:1/v1', apiKey: 'x', maxRetries: 0, fetch: answer });
}

const body = { model: 'guide', messages: [{ role: 'user' as const, content: 'hi' }] };

test('a completion', async () => {
  const completion = await client((out) => {
    writeCompletion(out, { head, content: Buffer.from(words.join('')), reason: 'stop', usage });
  }).chat.completions.create(body);
  assert.equal(completion.choices[0]?.message.content, words.join(''));
  assert.equal(completion.usage?.total_tokens, 13);
});

test('a stream with usage', async () => {
  const stream = await client(
    (out) => {
      writeRoleChunk(out, head, true);
      for (const word of words) new ContentChunks(head, true).write(out, Buffer.from(word));
      writeFinishChunk(out, head, 'length', true);
      writeUsageChunk(out, head, usage);
      writeDone(out);
    },
    200,
    'text/event-stream',
  ).chat.completions.create({ ...body, stream: true, stream_options: { include_usage: true } });
  const seen: string[] = [];
  const finishes: (string | null | undefined)[] = [];
  let total = 0;
  for await (const chunk of stream) {
    seen.push(chunk.choices[0]?.delta.content ?? '');
    finishes.push(chunk.choices[0]?.finish_reason);
    total = chunk.usage?.total_tokens ?? total;
  }
  assert.equal(seen.join(''), words.join(''));
  assert.deepEqual(finishes, [null, null, null, null, null, 'length', undefined]);
  assert.equal(total, 13);
});

test("the client's stream helper assembles the same message", async () => {
  const runner = client(
    (out) => {
      writeRoleChunk(out, head, false);
      for (const word of words) new ContentChunks(head, false).write(out, Buffer.from(word));
      writeFinishChunk(out, head, 'stop', false);
      writeDone(out);
    },
    200,
    'text/event-stream',
  ).chat.completions.stream(body);
  assert.equal(await runner.finalContent(), words.join(''));
});

test('errors before and inside a stream', async () => {
  await assert.rejects(
    client((out) => {
      writeError(
        out,
        new RequestError('REQUEST_FIELD_RANGE', 'temperature must be a number from 0 to 2', 'temperature'),
      );
    }, 400).chat.completions.create(body),
    (error) =>
      error instanceof OpenAI.BadRequestError &&
      error.param === 'temperature' &&
      error.code === 'field_range' &&
      error.type === 'invalid_request_error',
  );
  await assert.rejects(
    client((out) => {
      writeError(out, new RequestError('REQUEST_MODEL_NOT_FOUND', 'there is no such model', 'model', 404));
    }, 404).chat.completions.create(body),
    (error) => error instanceof OpenAI.NotFoundError && error.code === 'model_not_found',
  );
  const stream = await client(
    (out) => {
      writeRoleChunk(out, head, false);
      writeErrorEvent(out, new RequestError('ENGINE_STOPPED', 'the engine stopped', null, 503));
    },
    200,
    'text/event-stream',
  ).chat.completions.create({ ...body, stream: true });
  await assert.rejects(
    async () => {
      for await (const chunk of stream) assert.ok(chunk);
    },
    (error) => error instanceof OpenAI.APIError && error.code === 'engine_stopped',
  );
});

test('models', async () => {
  const page = await client((out) => {
    writeModels(out, [{ id: 'guide', created: 1 }]);
  }).models.list();
  assert.deepEqual(
    page.data.map((model) => model.id),
    ['guide'],
  );
  const model = await client((out) => {
    writeModel(out, { id: 'guide', created: 1 });
  }).models.retrieve('guide');
  assert.equal(model.owned_by, 'kwyre');
});
