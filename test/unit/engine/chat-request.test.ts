import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { defaultSampling, parseChatRequest, requestLimits } from '../../../src/engine/api/chat-request.ts';
import type { ChatRequest } from '../../../src/engine/types.ts';
import { RequestError } from '../../../src/engine/types.ts';

const messages = [{ role: 'user', content: 'hi' }];
const parse = (body: unknown): ChatRequest =>
  parseChatRequest(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));
const parseWith = (more: Record<string, unknown>): ChatRequest => parse({ model: 'guide', messages, ...more });
const texts = (request: ChatRequest) => request.messages.map((message) => [message.role, ...message.parts.map(String)]);

/** Expects a 400 that names one field. */
function refuses(body: unknown, parameter: string | null, code?: string): void {
  assert.throws(
    () => parse(body),
    (error: unknown) => {
      assert.ok(error instanceof RequestError, String(error));
      assert.equal(error.parameter, parameter);
      assert.equal(error.status, 400);
      assert.equal(error.type, 'invalid_request_error');
      if (code !== undefined) assert.equal(error.code, code);
      assert.doesNotMatch(error.message + JSON.stringify(error), /secret/);
      return true;
    },
  );
}
const refusesWith = (more: Record<string, unknown>, parameter: string, code?: string) => {
  refuses({ model: 'guide', messages, ...more }, parameter, code);
};

test('a minimal request gets the defaults', () => {
  const request = parseWith({});
  assert.equal(request.model, 'guide');
  assert.deepEqual(request.sampling, defaultSampling);
  assert.deepEqual([request.stream, request.includeUsage, request.maxTokens, request.stop], [false, false, null, []]);
  assert.deepEqual(texts(request), [['user', 'hi']]);
});

test('every field is read', () => {
  const request = parseWith({
    stream: true,
    stream_options: { include_usage: true, other: 1 },
    n: 1,
    stop: ['a', '\u{1f600}'],
    seed: 42,
    max_tokens: 5,
    max_completion_tokens: 7,
    temperature: 0,
    top_p: 0.5,
    top_k: 3,
    min_p: 0.1,
    presence_penalty: -2,
    frequency_penalty: 2,
    repeat_penalty: 1.1,
    repeat_last_n: 10,
    logit_bias: { 5: -100, 17: 1.5 },
  });
  assert.deepEqual(
    [request.stream, request.includeUsage, request.maxTokens, request.stop.map(String)],
    [true, true, 7, ['a', '\u{1f600}']],
  );
  assert.deepEqual(request.sampling, {
    temperature: 0,
    topK: 3,
    topP: 0.5,
    minP: 0.1,
    seed: 42,
    repeatPenalty: 1.1,
    presencePenalty: -2,
    frequencyPenalty: 2,
    repeatLastN: 10,
    logitBias: [
      { token: 5, bias: -100 },
      { token: 17, bias: 1.5 },
    ],
  });
  assert.equal(parseWith({ repetition_penalty: 1.3 }).sampling.repeatPenalty, 1.3);
  assert.equal(parseWith({ stop: 'end' }).stop[0]?.toString(), 'end');
  assert.equal(parseWith({ stream_options: { include_usage: true } }).includeUsage, false);
});

test('null counts as missing, for every field but model and messages', () => {
  const names = [
    'stream',
    'stream_options',
    'n',
    'stop',
    'seed',
    'max_tokens',
    'temperature',
    'top_p',
    'top_k',
    'logit_bias',
    'tools',
    'tool_choice',
    'response_format',
    'logprobs',
    'audio',
    'chat_template',
    'user',
  ];
  assert.deepEqual(parseWith(Object.fromEntries(names.map((name) => [name, null]))).sampling, defaultSampling);
  refuses({ model: null, messages }, 'model');
  refuses({ model: 'guide', messages: null }, 'messages');
});

test('roles and contents', () => {
  const request = parse({
    model: 'guide',
    messages: [
      { role: 'system', content: 's' },
      { role: 'developer', content: 'd', name: 'secret' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { text: 'b', type: 'text' },
          { type: 'text', text: '' },
        ],
      },
      { role: 'assistant', content: null, tool_calls: [], refusal: null },
      { role: 'assistant' },
      { role: 'tool', content: 't', tool_call_id: 'secret' },
      { role: 'user', content: [] },
      { role: 'user', content: '' },
    ],
  });
  assert.deepEqual(texts(request), [
    ['system', 's'],
    ['developer', 'd'],
    ['user', 'a\nb\n'],
    ['assistant'],
    ['assistant'],
    ['tool', 't'],
    ['user', ''],
    ['user', ''],
  ]);
});

test('malformed messages are refused by path', () => {
  const at = (list: unknown, parameter: string, code?: string) => {
    refuses({ model: 'guide', messages: list }, parameter, code);
  };
  at([], 'messages');
  at({}, 'messages');
  at('secret', 'messages');
  at([...messages, 5], 'messages[1]');
  at([{ content: 'secret' }], 'messages[0].role');
  at([{ role: 'secret', content: 'x' }], 'messages[0].role');
  at([{ role: 5, content: 'x' }], 'messages[0].role');
  at([{ role: 'user' }], 'messages[0].content');
  at([{ role: 'user', content: null }], 'messages[0].content');
  at([{ role: 'user', content: 5 }], 'messages[0].content');
  at([{ role: 'user', content: ['secret'] }], 'messages[0].content[0]');
  at([{ role: 'user', content: [{ text: 'x' }] }], 'messages[0].content[0].type');
  at([{ role: 'user', content: [{ type: 'text' }] }], 'messages[0].content[0].text');
  at([{ role: 'user', content: [{ type: 'text', text: 5 }] }], 'messages[0].content[0].text');
  at([{ role: 'assistant', content: null, tool_calls: [{ id: 'secret' }] }], 'messages[0].tool_calls');
  at([{ role: 'assistant', content: null, function_call: { name: 'secret' } }], 'messages[0].function_call');
  at(
    Array.from({ length: 5000 }, () => messages[0]),
    'messages',
  );
});

test('X-08 images, audio and files are refused by name', () => {
  for (const type of ['image_url', 'input_audio', 'file', 'image', 'secret']) {
    refuses(
      {
        model: 'guide',
        messages: [
          ...messages,
          {
            role: 'user',
            content: [
              { type: 'text', text: 'x' },
              { type, [type]: { url: 'secret' } },
            ],
          },
        ],
      },
      'messages[1].content[1].type',
      'REQUEST_CONTENT_UNSUPPORTED',
    );
  }
});

test('X-01 numbers out of range are refused by name', () => {
  const ranges: Readonly<Record<string, readonly number[]>> = {
    temperature: [-0.1, 2.1],
    top_p: [-0.1, 1.1],
    top_k: [-2, 1e7, 1.5],
    min_p: [-1, 2],
    presence_penalty: [-2.1, 2.1],
    frequency_penalty: [-3, 3],
    repetition_penalty: [0, -1, 2.5],
    repeat_penalty: [0, 99],
    repeat_last_n: [-1, 1e9, 0.5],
    max_tokens: [0, -1, 1.5, 3e9],
    max_completion_tokens: [0, -5],
    seed: [0.5, 1e30],
    n: [0, 2, 16384, -1],
    best_of: [2],
  };
  for (const [name, values] of Object.entries(ranges)) {
    for (const value of values) refusesWith({ [name]: value }, name, 'REQUEST_FIELD_RANGE');
    for (const text of ['1e400', '-1e400', '9'.repeat(400)])
      refuses(
        `{"model":"guide","messages":[{"role":"user","content":"x"}],"${name}":${text}}`,
        name,
        'REQUEST_FIELD_RANGE',
      );
    for (const value of ['1', true, [], {}]) refusesWith({ [name]: value }, name, 'REQUEST_FIELD_TYPE');
  }
  for (const name of ['n_discard', 'n_keep', 'id_slot', 'n_predict', 'dry_allowed_length', 'cache_prompt'])
    assert.deepEqual(parseWith({ [name]: -(2 ** 40) }).sampling, defaultSampling);
});

test('ranges include their bounds', () => {
  for (const more of [
    { temperature: 2 },
    { top_p: 0 },
    { top_k: -1 },
    { top_k: 1_000_000 },
    { min_p: 1 },
    { presence_penalty: 2 },
    { repetition_penalty: 0.01 },
    { max_tokens: 2 ** 31 - 1 },
    { repeat_last_n: 0 },
  ])
    assert.ok(parseWith(more));
  assert.equal(parseWith({ top_k: -1 }).sampling.topK, 0);
});

test('a 64-bit seed is folded to 32 bits, and never to the one that means random', () => {
  const seed = (value: number) => parseWith({ seed: value }).sampling.seed;
  assert.equal(seed(-1), null);
  fc.assert(
    fc.property(
      fc.oneof(fc.maxSafeInteger(), fc.constantFrom(2 ** 63, -(2 ** 63), 2 ** 32 - 1, 2 ** 33 - 1, -2)),
      (value) => {
        const folded = seed(value);
        assert.ok(folded === null ? value === -1 : Number.isInteger(folded) && folded >= 0 && folded < 2 ** 32 - 1);
      },
    ),
  );
});

test('stop and logit_bias are bounded', () => {
  refusesWith({ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop');
  refusesWith({ stop: '' }, 'stop');
  refusesWith({ stop: ['a', ''] }, 'stop[1]');
  refusesWith({ stop: ['x'.repeat(requestLimits.stopBytes + 1)] }, 'stop[0]');
  refusesWith({ stop: 5 }, 'stop');
  refusesWith({ stop: [5] }, 'stop[0]');
  refusesWith({ logit_bias: [] }, 'logit_bias');
  refusesWith({ logit_bias: { secret: 1 } }, 'logit_bias');
  refusesWith({ logit_bias: { '-1': 1 } }, 'logit_bias');
  refusesWith({ logit_bias: { 1: 101 } }, 'logit_bias');
  refusesWith({ logit_bias: { 1: 'secret' } }, 'logit_bias');
  refusesWith({ logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, 0])) }, 'logit_bias');
  assert.equal(
    parseWith({ logit_bias: Object.fromEntries(Array.from({ length: 1024 }, (_, i) => [i, 0])) }).sampling.logitBias
      .length,
    1024,
  );
});

test('the model is a short ASCII name', () => {
  refuses({ messages }, 'model', 'REQUEST_FIELD_MISSING');
  for (const model of ['', 'x'.repeat(300), 'a\nb', 'gr\u00fc\u00dfe', 5, {}]) refuses({ model, messages }, 'model');
  assert.equal(parse('{"model":"a\\/b","messages":[{"role":"user","content":"x"}]}').model, 'a/b');
});

test('unsupported fields are refused unless their value has no effect', () => {
  const asking: Readonly<Record<string, readonly unknown[]>> = {
    tools: [[{ type: 'function' }], 'secret'],
    functions: [[{}]],
    tool_choice: ['required', { type: 'function' }],
    function_call: [{ name: 'secret' }],
    response_format: [{ type: 'json_object' }, { type: 'json_schema' }, 'text'],
    modalities: [['text', 'audio']],
    logprobs: [true],
    top_logprobs: [3],
    audio: [{}],
    web_search_options: [{}],
    chat_template: ['secret'],
    chat_template_kwargs: [{}],
    grammar: ['secret'],
    json_schema: [{}],
    guided_json: [{}],
  };
  for (const [name, values] of Object.entries(asking))
    for (const value of values) refusesWith({ [name]: value }, name, 'REQUEST_FIELD_UNSUPPORTED');
  assert.ok(
    parseWith({
      tools: [],
      functions: [],
      tool_choice: 'none',
      function_call: 'auto',
      response_format: { type: 'text' },
      modalities: ['text'],
      logprobs: false,
      top_logprobs: 0,
    }),
  );
});

test('unknown fields are ignored, whatever their value', () => {
  const request = parseWith({
    user: 'secret',
    metadata: { secret: 'secret' },
    store: true,
    service_tier: 'auto',
    parallel_tool_calls: false,
    prediction: null,
    __proto__x: 1,
    'stream ': true,
    constructor: { stream: true },
    anything: [[[{}]]],
  });
  assert.equal(request.stream, false);
  assert.equal(
    parse(
      '{"__proto__":{"stream":true,"model":"other"},"model":"guide","messages":[{"role":"user","content":"x","__proto__":{"role":"system"}}]}',
    ).model,
    'guide',
  );
});

test('booleans must be booleans', () => {
  refusesWith({ stream: 'true' }, 'stream');
  refusesWith({ stream_options: true }, 'stream_options');
  refusesWith({ stream_options: { include_usage: 1 } }, 'stream_options.include_usage');
});

test('bodies that are not an object', () => {
  for (const body of ['[]', '"x"', '5', 'null', '']) refuses(body, null);
  refuses('{"model":"guide","model":"guide"}', null, 'REQUEST_JSON_DUPLICATE_KEY');
});

test('dispose overwrites every text; an error leaves none', () => {
  const request = parseWith({
    stop: ['stop words'],
    messages: [
      { role: 'user', content: 'text' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'p\u00e4rt' },
          { type: 'text', text: 'two' },
        ],
      },
    ],
  });
  const buffers = [...request.messages.flatMap((message) => message.parts), ...request.stop];
  assert.ok(buffers.every((bytes) => bytes.some((byte) => byte !== 0)));
  request[Symbol.dispose]();
  request[Symbol.dispose]();
  assert.ok(buffers.every((bytes) => bytes.every((byte) => byte === 0)));
});

test('texts are copies, so the body can be overwritten', () => {
  const body = Buffer.from(
    JSON.stringify({
      model: 'guide',
      messages: [
        { role: 'user', content: 'plain' },
        { role: 'user', content: 'esc\naped' },
      ],
    }),
  );
  const request = parseChatRequest(body);
  body.fill(0);
  assert.deepEqual(texts(request), [
    ['user', 'plain'],
    ['user', 'esc\naped'],
  ]);
});

test('a hostile body yields a request or a coded error, never another error', () => {
  const base = JSON.stringify({
    model: 'guide',
    messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }] }],
    stop: ['x'],
    logit_bias: { 1: 2 },
    stream_options: { include_usage: true },
  });
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.nat(base.length),
          fc.constantFrom(
            '{',
            '}',
            '[',
            ']',
            '"',
            ',',
            ':',
            '\\',
            '\\u00',
            '0',
            '-',
            'null',
            '5',
            'e9',
            '""',
            '{}',
            '[]',
            '\u00ff',
          ),
        ),
        { maxLength: 4 },
      ),
      (edits) => {
        let text = base;
        for (const [at, piece] of edits) text = text.slice(0, at) + piece + text.slice(at + piece.length - 1);
        try {
          parse(text)[Symbol.dispose]();
        } catch (error) {
          assert.ok(error instanceof RequestError, String(error));
        }
      },
    ),
    { numRuns: 5000 },
  );
});
