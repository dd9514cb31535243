import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteWriter } from '../../../src/engine/bytes/byte-writer.ts';
import { RequestError } from '../../../src/engine/types.ts';
import { Utf8Holdback } from '../../../src/engine/bytes/utf8.ts';
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

const head = { id: 'chatcmpl-0123456789abcdef', created: 1_700_000_000, model: 'guide "x" \u00e9\u2028' };
const usage = { promptTokens: 12, completionTokens: 3 };

type Json = { [key: string]: Json } & Json[] & string;
const parse = (out: ByteWriter) => JSON.parse(out.view().toString()) as Json;
/** Returns the events of a stream. */
const events = (out: ByteWriter) =>
  out
    .view()
    .toString()
    .split('\n\n')
    .slice(0, -1)
    .map((line) => {
      assert.ok(line.startsWith('data: '));
      assert.ok(!line.includes('\n'));
      return line.slice(6);
    });

test('any bytes, made UTF-8, parse with JSON.parse to the same text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.string({ unit: 'binary' }), (bytes, text) => {
      for (const source of [bytes, Buffer.from(text)]) {
        const holdback = new Utf8Holdback();
        const content = Buffer.concat([Buffer.from(holdback.push(source)), Buffer.from(holdback.flush())]);
        const out = new ByteWriter(1);
        writeCompletion(out, { head, content, reason: 'stop', usage });
        assert.equal(
          parse(out)['choices']![0]!['message']!['content'],
          new TextDecoder('utf-8', { ignoreBOM: true }).decode(source),
        );
      }
    }),
    { numRuns: 2000 },
  );
});

test('every byte below 0x80 round-trips', () => {
  const out = new ByteWriter();
  const all = Buffer.from(Array.from({ length: 128 }, (_, i) => i));
  new ContentChunks(head, false).write(out, all);
  assert.equal((JSON.parse(events(out)[0]!) as Json)['choices']![0]!['delta']!['content'], all.toString('latin1'));
});

test('a completion has the fields that clients read', () => {
  const out = new ByteWriter();
  writeCompletion(out, { head, content: Buffer.from('Hi'), reason: 'length', usage });
  assert.deepEqual(parse(out), {
    id: head.id,
    object: 'chat.completion',
    created: head.created,
    model: head.model,
    system_fingerprint: null,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Hi', refusal: null },
        logprobs: null,
        finish_reason: 'length',
      },
    ],
    usage: { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 },
  });
});

test('a stream is role, contents, finish, usage, done; usage is null before the last chunk', () => {
  const out = new ByteWriter();
  writeRoleChunk(out, head, true);
  new ContentChunks(head, true).write(out, Buffer.from('a\nb'));
  writeFinishChunk(out, head, 'stop', true);
  writeUsageChunk(out, head, usage);
  writeDone(out);
  const list = events(out);
  assert.equal(list.pop(), '[DONE]');
  const chunks = list.map(
    (text) =>
      JSON.parse(text) as {
        object: string;
        choices: { delta: object; finish_reason: string | null }[];
        usage: object | null;
      },
  );
  assert.deepEqual(
    chunks.map((chunk) => chunk.object),
    Array.from({ length: 4 }, () => 'chat.completion.chunk'),
  );
  assert.deepEqual(
    chunks.map((chunk) => chunk.choices[0]?.delta),
    [{ role: 'assistant', content: '', refusal: null }, { content: 'a\nb' }, {}, undefined],
  );
  assert.deepEqual(
    chunks.map((chunk) => chunk.choices[0]?.finish_reason),
    [null, null, 'stop', undefined],
  );
  assert.deepEqual(
    chunks.map((chunk) => chunk.usage),
    [null, null, null, { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 }],
  );
  assert.deepEqual(chunks[3]!.choices, []);
});

test('without include_usage no chunk has a usage', () => {
  const out = new ByteWriter();
  writeRoleChunk(out, head, false);
  writeFinishChunk(out, head, 'stop', false);
  for (const text of events(out)) assert.ok(!('usage' in (JSON.parse(text) as object)));
});

test('errors have the shape of OpenAI and a stable code', () => {
  const out = new ByteWriter();
  const error = new RequestError('REQUEST_MODEL_NOT_FOUND', 'there is no such model', 'model', 404);
  writeError(out, error);
  assert.deepEqual(parse(out), {
    error: { message: 'there is no such model', type: 'not_found_error', param: 'model', code: 'model_not_found' },
  });
  out.clear();
  writeErrorEvent(out, new RequestError('ENGINE_STOPPED', 'stopped', null, 503));
  assert.deepEqual(JSON.parse(events(out)[0]!), {
    error: { message: 'stopped', type: 'server_error', param: null, code: 'engine_stopped' },
  });
});

test('models', () => {
  const out = new ByteWriter();
  writeModels(out, [
    { id: 'guide', created: 5 },
    { id: 'b', created: 6 },
  ]);
  assert.deepEqual(parse(out), {
    object: 'list',
    data: [
      { id: 'guide', object: 'model', created: 5, owned_by: 'kwyre' },
      { id: 'b', object: 'model', created: 6, owned_by: 'kwyre' },
    ],
  });
  out.clear();
  writeModel(out, { id: 'guide', created: 5 });
  assert.equal(parse(out)['id'], 'guide');
});

test('growth and clear overwrite what was written', () => {
  const out = new ByteWriter(16);
  const first = out.bytes(Buffer.from('canary words')).view();
  out.bytes(Buffer.alloc(4096, 0x78));
  assert.ok(
    first.every((byte) => byte === 0),
    'the smaller buffer',
  );
  const second = out.view();
  out.clear();
  assert.ok(second.every((byte) => byte === 0));
  assert.equal(out.length, 0);
});
