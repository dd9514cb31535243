/** Responses as frames: within the credit, overwritten, ended once. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EventStreamSink, JsonSink } from '../../../src/engine/api/response-sinks.ts';
import { Response } from '../../../src/engine/api/response.ts';
import { writeCompletion } from '../../../src/engine/api/response-json.ts';
import { RequestError } from '../../../src/engine/types.ts';
import type { Frame } from '../../../src/wire/frame.ts';
import { FrameDecoder, maxPayloadBytes } from '../../../src/wire/frame.ts';
import { Channel } from '../../../src/wire/channel.ts';
import { initialCreditBytes, mediaTypes, parseResponseHead } from '../../../src/wire/data-payloads.ts';
import { dataMessages } from '../../../src/wire/messages.ts';

const head = { id: 'chatcmpl-0', created: 1, model: 'm' };

/** A response whose frames are recorded. */
function record() {
  const frames: Frame[] = [];
  const decoder = new FrameDecoder((frame) => frames.push({ ...frame, payload: Buffer.from(frame.payload) }));
  const channel = new Channel(
    {
      write: (bytes) => {
        decoder.push(bytes);
      },
    },
    {},
    () => undefined,
  );
  let over = 0;
  const response = new Response(channel, 5, () => (over += 1));
  const bodies = () => frames.filter(({ type }) => type === dataMessages.responseBody);
  return {
    frames,
    response,
    over: () => over,
    body: () => Buffer.concat(bodies().map(({ payload }) => payload)).toString(),
    sizes: () => bodies().map(({ payload }) => payload.length),
    types: () => frames.map(({ type }) => type),
  };
}

describe('credit', () => {
  test('a long response stops at the credit and continues with more, in frames of the permitted size', () => {
    const { response, body, sizes, types, over, frames } = record();
    const reader = new JsonSink(response, (out, content, reason, usage) => {
      writeCompletion(out, { head, content, reason, usage });
    });
    const text = 'x'.repeat(3 * initialCreditBytes);
    reader.content(Buffer.from(text));
    reader.finish('stop', { promptTokens: 1, completionTokens: 2 });
    assert.equal(
      sizes().reduce((a, b) => a + b, 0),
      initialCreditBytes,
    );
    assert.ok(sizes().every((size) => size <= maxPayloadBytes));
    assert.ok(!types().includes(dataMessages.responseEnd));
    assert.ok(response.congested && response.ended);
    response.addCredit(1);
    assert.equal(sizes().at(-1), 1);
    for (let i = 0; i < 100 && over() === 0; i += 1) response.addCredit(50_000);
    assert.equal(types().at(-1), dataMessages.responseEnd);
    assert.equal(over(), 1);
    assert.equal(
      (JSON.parse(body()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content,
      text,
    );
    assert.ok(frames.every(({ stream }) => stream === 5));
  });

  test('credit after the end is ignored', () => {
    const { response, over, types } = record();
    response.begin(200, mediaTypes.json);
    response.out.ascii('{}');
    response.end();
    const before = types().length;
    response.addCredit(100);
    response.end();
    response.close();
    assert.deepEqual([over(), types().length], [1, before]);
  });
});

describe('ends', () => {
  test('an error before the first chunk is a status, after it an event', () => {
    const early = record();
    early.response.fail(new RequestError('REQUEST_JSON_SHAPE', 'the body must be a JSON object'));
    assert.equal(parseResponseHead(early.frames[0]?.payload ?? Buffer.alloc(0)).status, 400);
    assert.equal((JSON.parse(early.body()) as { error: { code: string } }).error.code, 'json_shape');

    const late = record();
    const reader = new EventStreamSink(late.response, head, false);
    reader.content(Buffer.from('a'));
    reader.fail(new RequestError('ENGINE_TURN_TIMEOUT', 'too long', null, 504));
    assert.equal(parseResponseHead(late.frames[0]?.payload ?? Buffer.alloc(0)).status, 200);
    assert.match(late.body(), /data: \{"error":\{"message":"too long"[^\n]*\n\n$/);
    assert.equal(late.types().filter((type) => type === dataMessages.responseEnd).length, 1);
  });

  test('503 and 429 have Retry-After', () => {
    for (const [status, seconds] of [
      [503, 1],
      [429, 1],
      [400, 0],
    ] as const) {
      const { response, frames } = record();
      response.fail(new RequestError('ENGINE_BUSY', 'busy', null, status));
      assert.equal(parseResponseHead(frames[0]?.payload ?? Buffer.alloc(0)).retryAfterSeconds, seconds);
    }
  });

  test('after a close nothing is sent, and what was written is overwritten', () => {
    const { response, types } = record();
    const reader = new JsonSink(response, (out, content, reason, usage) => {
      writeCompletion(out, { head, content, reason, usage });
    });
    reader.content(Buffer.from('half an answer'));
    response.out.ascii('waiting');
    const view = response.out.view();
    response.close();
    reader[Symbol.dispose]();
    reader.content(Buffer.from('more'));
    reader.finish('stop', { promptTokens: 1, completionTokens: 1 });
    assert.deepEqual(types(), []);
    assert.ok(view.every((byte) => byte === 0));
  });
});
