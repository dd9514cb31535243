/**
 * The schema of `POST /v1/chat/completions`: which fields are read, in which ranges, and which are refused by name.
 *
 * Promise: nothing but `role`, `type`, `model`, flags and numbers becomes a JavaScript value; `user`, `metadata`,
 *          names, tools and whatever else a body carries is skipped as bytes. An error names the field, never its
 *          value. A parameter of the engine that is not in this table does not reach it.
 * Trust:   the body is hostile. Unknown fields are ignored; known ones out of range are refused; known ones that would
 *          change the answer but cannot be honoured yet are refused unless they ask for nothing. A chat template or its
 *          arguments are never taken from a request.
 * Limits:  several text parts of one message are read as lines of one text, as llama-server does.
 * Source:  https://platform.openai.com/docs/api-reference/chat/create
 * Proof:   test/unit/engine/chat-request.test.ts
 * @module
 */
import { wipeBytes } from '../../base/bytes.ts';
import { flag, given, integer, missing, number, outOfRange, unsupported, wrongType } from './field.ts';
import { parseJson } from '../bytes/json-parser.ts';
import { readMessages } from './chat-messages.ts';
import type { ChatRequest, LogitBias, Message, Sampling } from '../types.ts';
import { RequestError } from '../types.ts';
import type { JsonNode, JsonTree } from '../bytes/json-tree.ts';
import { jsonKinds } from '../bytes/json-tree.ts';

export const requestLimits = { stops: 4, stopBytes: 256, logitBias: 1024, modelLength: 256 } as const;

/**
 * What a request that says nothing gets. OpenAI's own default (temperature 1, nothing cut off) is made for large
 * models; small ones wander with it, so these are the values that llama-server starts with. A request that sets
 * `temperature` or `top_p` keeps the other cuts, as it would there.
 */
export const defaultSampling: Sampling = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  seed: null,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repeatLastN: 64,
  logitBias: [],
};

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** A request while it is read; `owned` holds every text, so that a refusal half way overwrites them all. */
type Draft = {
  model: string | undefined;
  messages: Message[] | undefined;
  stream: boolean;
  includeUsage: boolean;
  maxTokens: number | null;
  maxCompletionTokens: number | null;
  stop: Buffer[];
  sampling: Writable<Sampling>;
  owned: Buffer[];
};

function readStop(tree: JsonTree, node: JsonNode, draft: Draft): void {
  const isArray = tree.kind(node) === jsonKinds.array;
  const list = isArray ? [...tree.elements(node)] : [node];
  if (list.length > requestLimits.stops) throw outOfRange('stop', `at most ${requestLimits.stops} strings`);
  draft.stop = list.map((item, i) => {
    const at = isArray ? `stop[${i}]` : 'stop';
    if (!tree.isString(item)) throw wrongType(at, isArray ? 'a string' : 'a string or an array of strings');
    const text = tree.text(item);
    draft.owned.push(text);
    if (text.length === 0 || text.length > requestLimits.stopBytes)
      throw outOfRange(at, `1 to ${requestLimits.stopBytes} bytes long`);
    return text;
  });
}

function readLogitBias(tree: JsonTree, node: JsonNode, draft: Draft): void {
  if (tree.kind(node) !== jsonKinds.object) throw wrongType('logit_bias', 'an object of token ids and numbers');
  const list: LogitBias[] = [];
  for (const [key, value] of tree.pairs(node)) {
    if (list.length >= requestLimits.logitBias)
      throw outOfRange('logit_bias', `at most ${requestLimits.logitBias} tokens`);
    const token = tree.digits(key);
    if (token === undefined) throw outOfRange('logit_bias', 'an object whose keys are token ids');
    list.push({ token, bias: number(tree, value, 'logit_bias', -100, 100) });
  }
  draft.sampling.logitBias = list;
}

/** llama.cpp takes 32 bits, of which the last value means "random"; wider ones are folded. */
function readSeed(tree: JsonTree, node: JsonNode): number | null {
  const seed = integer(tree, node, 'seed', -(2 ** 63), 2 ** 63);
  if (seed === -1) return null;
  const folded = ((seed % 2 ** 32) + 2 ** 32) % 2 ** 32;
  return folded === 2 ** 32 - 1 ? 2 ** 31 : folded;
}

type Reader = (tree: JsonTree, node: JsonNode, draft: Draft, at: string) => void;

const maxInt = 2 ** 31 - 1;
const maxTopK = 1_000_000;
const maxRepeatLastN = 32_768;

/** A number of the sampling with its range. */
function sampled(
  key: 'temperature' | 'topP' | 'minP' | 'repeatPenalty' | 'presencePenalty' | 'frequencyPenalty',
  min: number,
  max: number,
): Reader {
  return (tree, node, draft, at) => {
    draft.sampling[key] = number(tree, node, at, min, max);
  };
}

const isEmptyArray: Neutral = (tree, node) => tree.kind(node) === jsonKinds.array && tree.count(node) === 0;
const isFalse: Neutral = (tree, node) => tree.kind(node) === jsonKinds.false;
const never: Neutral = () => false;
/** Whether a field that cannot be honoured asks for nothing anyway. */
type Neutral = (tree: JsonTree, node: JsonNode) => boolean;

function refusedUnless(neutral: Neutral): Reader {
  return (tree, node, _draft, at) => {
    if (!neutral(tree, node)) throw unsupported(at);
  };
}

const anyOf =
  (...words: readonly string[]): Neutral =>
  (tree, node) =>
    tree.isString(node) && words.some((word) => tree.is(node, word));

/** Every field that is read. A null counts as not given. */
const fields: readonly (readonly [name: string, read: Reader])[] = [
  [
    'model',
    (tree, node, draft) => {
      draft.model = tree.ascii(node, requestLimits.modelLength);
      if (draft.model === undefined)
        throw wrongType('model', `a name of 1 to ${requestLimits.modelLength} printable ASCII characters`);
    },
  ],
  [
    'messages',
    (tree, node, draft) => {
      draft.messages = readMessages(tree, node, draft.owned);
    },
  ],
  [
    'stream',
    (tree, node, draft, at) => {
      draft.stream = flag(tree, node, at);
    },
  ],
  [
    'stream_options',
    (tree, node, draft, at) => {
      if (tree.kind(node) !== jsonKinds.object) throw wrongType(at, 'an object');
      const include = given(tree, node, 'include_usage');
      draft.includeUsage = include !== undefined && flag(tree, include, `${at}.include_usage`);
    },
  ],
  [
    'n',
    (tree, node, _draft, at) => {
      if (integer(tree, node, at, 1, maxInt) !== 1) throw outOfRange(at, '1');
    },
  ],
  [
    'stop',
    (tree, node, draft) => {
      readStop(tree, node, draft);
    },
  ],
  [
    'seed',
    (tree, node, draft) => {
      draft.sampling.seed = readSeed(tree, node);
    },
  ],
  [
    'max_tokens',
    (tree, node, draft, at) => {
      draft.maxTokens = integer(tree, node, at, 1, maxInt);
    },
  ],
  [
    'max_completion_tokens',
    (tree, node, draft, at) => {
      draft.maxCompletionTokens = integer(tree, node, at, 1, maxInt);
    },
  ],
  ['temperature', sampled('temperature', 0, 2)],
  ['top_p', sampled('topP', 0, 1)],
  // -1 is how other servers write "off".
  [
    'top_k',
    (tree, node, draft, at) => {
      draft.sampling.topK = Math.max(0, integer(tree, node, at, -1, maxTopK));
    },
  ],
  ['min_p', sampled('minP', 0, 1)],
  ['presence_penalty', sampled('presencePenalty', -2, 2)],
  ['frequency_penalty', sampled('frequencyPenalty', -2, 2)],
  ['repetition_penalty', sampled('repeatPenalty', 0.01, 2)],
  ['repeat_penalty', sampled('repeatPenalty', 0.01, 2)],
  [
    'repeat_last_n',
    (tree, node, draft, at) => {
      draft.sampling.repeatLastN = integer(tree, node, at, 0, maxRepeatLastN);
    },
  ],
  [
    'logit_bias',
    (tree, node, draft) => {
      readLogitBias(tree, node, draft);
    },
  ],
  ['tools', refusedUnless(isEmptyArray)],
  ['functions', refusedUnless(isEmptyArray)],
  ['tool_choice', refusedUnless(anyOf('none', 'auto'))],
  ['function_call', refusedUnless(anyOf('none', 'auto'))],
  [
    'response_format',
    refusedUnless((tree, node) => {
      const type = tree.kind(node) === jsonKinds.object ? given(tree, node, 'type') : undefined;
      return type !== undefined && tree.isString(type) && tree.is(type, 'text');
    }),
  ],
  [
    'modalities',
    refusedUnless(
      (tree, node) =>
        tree.kind(node) === jsonKinds.array &&
        [...tree.elements(node)].every((item) => tree.isString(item) && tree.is(item, 'text')),
    ),
  ],
  ['logprobs', refusedUnless(isFalse)],
  ['top_logprobs', refusedUnless((tree, node) => tree.number(node) === 0)],
  ['audio', refusedUnless(never)],
  ['web_search_options', refusedUnless(never)],
  [
    'best_of',
    (tree, node, _draft, at) => {
      if (integer(tree, node, at, 1, maxInt) !== 1) throw outOfRange(at, '1');
    },
  ],
  // Constraints on the output and templates of other servers: to ignore them would answer another question.
  ...[
    'grammar',
    'json_schema',
    'guided_json',
    'guided_regex',
    'guided_choice',
    'guided_grammar',
    'chat_template',
    'chat_template_kwargs',
  ].map((name) => [name, refusedUnless(never)] as const),
];

/**
 * Parses the body of a chat completion. The caller overwrites `body` afterwards and disposes the request when it is
 * done.
 * @throws RequestError `REQUEST_JSON_*`, `REQUEST_FIELD_*`, `REQUEST_CONTENT_UNSUPPORTED`; nothing of the body is left
 * then.
 */
export function parseChatRequest(body: Uint8Array): ChatRequest {
  const draft: Draft = {
    model: undefined,
    messages: undefined,
    stream: false,
    includeUsage: false,
    maxTokens: null,
    maxCompletionTokens: null,
    stop: [],
    sampling: { ...defaultSampling },
    owned: [],
  };
  const dispose = () => {
    for (const text of draft.owned) wipeBytes(text);
  };
  try {
    const tree = parseJson(body);
    if (tree.kind(0) !== jsonKinds.object)
      throw new RequestError('REQUEST_JSON_SHAPE', 'the body must be a JSON object');
    for (const [key, node] of tree.pairs(0)) {
      if (tree.isNull(node)) continue;
      const field = fields.find(([name]) => tree.is(key, name));
      if (field !== undefined) field[1](tree, node, draft, field[0]);
    }
    const { model, messages } = draft;
    if (model === undefined) throw missing('model');
    if (messages === undefined) throw missing('messages');
    return {
      kind: 'chat',
      model,
      messages,
      stream: draft.stream,
      includeUsage: draft.stream && draft.includeUsage,
      maxTokens: draft.maxCompletionTokens ?? draft.maxTokens,
      stop: draft.stop,
      sampling: draft.sampling,
      [Symbol.dispose]: dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}
