/**
 * The schema of `POST /v1/chat/completions`: the fields that are read, their ranges, and the fields that are refused.
 *
 * Promise: only `role`, `type`, `model`, booleans and numbers become JavaScript values. `user`, `metadata`, names,
 *          tools and unknown fields are skipped as bytes. An error names the field, never its value. A sampling
 *          parameter that is not in this table cannot be set.
 * Trust:   the body is hostile. Unknown fields are ignored. Out-of-range values are refused, as are unsupported fields
 *          that would change the completion. A request cannot set a chat template or its arguments.
 * Limits:  multiple text parts of a message are joined with line feeds, as in llama-server.
 * Source:  https://platform.openai.com/docs/api-reference/chat/create
 * Proof:   test/unit/engine/chat-request.test.ts
 * @module
 */
import { wipeBytes } from '../../base/bytes.ts';
import type { ChatRequest, LogitBias, Message, Sampling } from '../types.ts';
import { readMessages } from './chat-messages.ts';
import { Field, maxInt, missing, outOfRange, unsupported, wrongType } from './field.ts';
import type { NoEffect } from './unsupported-fields.ts';
import { unsupportedChatFields } from './unsupported-fields.ts';

/** @internal */
export const requestLimits = { stops: 4, stopBytes: 256, logitBias: 1024, modelLength: 256 } as const;

/**
 * The defaults of llama-server. OpenAI's defaults (temperature 1, no truncation of the distribution) suit large models
 * but make small ones incoherent. A request that sets `temperature` or `top_p` keeps the other defaults, as in
 * llama-server.
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

/** A request that is being parsed. `owned` holds every text, so that all of them can be overwritten after an error. */
type Draft = {
  model: string | undefined;
  messages: readonly Message[] | undefined;
  stream: boolean;
  includeUsage: boolean;
  maxTokens: number | null;
  maxCompletionTokens: number | null;
  stop: readonly Buffer[];
  readonly sampling: Writable<Sampling>;
  readonly owned: Buffer[];
};

type Read = (field: Field, draft: Draft) => void;

/** Reads a model's name. @throws RequestError `REQUEST_FIELD_TYPE` */
export function readModel(field: Field): string {
  const model = field.ascii(requestLimits.modelLength);
  if (model === undefined)
    throw wrongType(field.path, `a name of 1 to ${requestLimits.modelLength} printable ASCII characters`);
  return model;
}

function readStop(field: Field, { owned }: Draft): Buffer[] {
  const items = field.isArray ? [...field.elements()] : [field];
  if (items.length > requestLimits.stops) throw outOfRange(field.path, `at most ${requestLimits.stops} strings`);
  return items.map((item) => {
    if (!item.isString) throw wrongType(item.path, field.isArray ? 'a string' : 'a string or an array of strings');
    const text = item.text(owned);
    if (text.length === 0 || text.length > requestLimits.stopBytes)
      throw outOfRange(item.path, `1 to ${requestLimits.stopBytes} bytes long`);
    return text;
  });
}

function readLogitBias(field: Field): LogitBias[] {
  if (!field.isObject) throw wrongType(field.path, 'an object of token ids and numbers');
  const list: LogitBias[] = [];
  for (const [token, bias] of field.numberedMembers()) {
    if (list.length >= requestLimits.logitBias)
      throw outOfRange(field.path, `at most ${requestLimits.logitBias} tokens`);
    if (token === undefined) throw outOfRange(field.path, 'an object whose keys are token ids');
    list.push({ token, bias: bias.number(-100, 100) });
  }
  return list;
}

function readIncludeUsage(field: Field): boolean {
  if (!field.isObject) throw wrongType(field.path, 'an object');
  return field.member('include_usage')?.boolean() ?? false;
}

/** Folds wider seeds to llama.cpp's 32 bits, and avoids the highest value, which means "random". */
function readSeed(field: Field): number | null {
  const seed = field.integer(-(2 ** 63), 2 ** 63);
  if (seed === -1) return null;
  const folded = ((seed % 2 ** 32) + 2 ** 32) % 2 ** 32;
  return folded === 2 ** 32 - 1 ? 2 ** 31 : folded;
}

const maxTopK = 1_000_000;
const maxRepeatLastN = 32_768;

const set =
  <K extends keyof Draft>(key: K, read: (field: Field, draft: Draft) => Draft[K]): Read =>
  (field, draft) => {
    draft[key] = read(field, draft);
  };

const setSampling =
  <K extends keyof Sampling>(key: K, read: (field: Field) => Sampling[K]): Read =>
  (field, draft) => {
    draft.sampling[key] = read(field);
  };

const numberFrom = (min: number, max: number) => (field: Field) => field.number(min, max);

/** Accepts only the number 1. */
const one: Read = (field) => {
  if (field.integer(1, maxInt) !== 1) throw outOfRange(field.path, '1');
};

const refuseUnless =
  (noEffect: NoEffect): Read =>
  (field) => {
    if (!noEffect(field)) throw unsupported(field.path);
  };

/** Every field that is read. A null counts as a missing field. */
const fields: readonly (readonly [name: string, read: Read])[] = [
  ['model', set('model', readModel)],
  ['messages', set('messages', readMessages)],
  ['stream', set('stream', (field) => field.boolean())],
  ['stream_options', set('includeUsage', readIncludeUsage)],
  ['n', one],
  ['best_of', one],
  ['stop', set('stop', readStop)],
  ['seed', setSampling('seed', readSeed)],
  ['max_tokens', set('maxTokens', (field) => field.integer(1, maxInt))],
  ['max_completion_tokens', set('maxCompletionTokens', (field) => field.integer(1, maxInt))],
  ['temperature', setSampling('temperature', numberFrom(0, 2))],
  ['top_p', setSampling('topP', numberFrom(0, 1))],
  // Other servers use -1 for "off".
  ['top_k', setSampling('topK', (field) => Math.max(0, field.integer(-1, maxTopK)))],
  ['min_p', setSampling('minP', numberFrom(0, 1))],
  ['presence_penalty', setSampling('presencePenalty', numberFrom(-2, 2))],
  ['frequency_penalty', setSampling('frequencyPenalty', numberFrom(-2, 2))],
  ['repetition_penalty', setSampling('repeatPenalty', numberFrom(0.01, 2))],
  ['repeat_penalty', setSampling('repeatPenalty', numberFrom(0.01, 2))],
  ['repeat_last_n', setSampling('repeatLastN', (field) => field.integer(0, maxRepeatLastN))],
  ['logit_bias', setSampling('logitBias', readLogitBias)],
  ...unsupportedChatFields.map(([name, noEffect]) => [name, refuseUnless(noEffect)] as const),
];

/**
 * Parses the body of a chat completion request. The caller overwrites `body`, and disposes the request after use.
 * @throws RequestError `REQUEST_JSON_*`, `REQUEST_FIELD_*`, `REQUEST_CONTENT_UNSUPPORTED`, after overwriting every
 * copied text
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
    for (const [field, read] of Field.root(body).knownMembers(fields)) read(field, draft);
    const { model, messages } = draft;
    if (model === undefined) throw missing('model');
    if (messages === undefined) throw missing('messages');
    return {
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
