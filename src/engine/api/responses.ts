/**
 * The schema of `POST /v1/responses` (text only), and the JSON of a response.
 *
 * A stored response is a turn of a conversation in the vault. Its id consists of the conversation's id and the turn's
 * number. A request that continues from the last response extends that conversation. A request that continues from an
 * earlier response creates a new conversation with the items up to that turn.
 * Promise: as in chat-request.ts, texts stay bytes and an error names the field, never its value. `store` keeps a
 *          response only in memory, sealed.
 * Limits:  streaming events, tools, images and background responses are not supported and are refused by name.
 *          `instructions` apply to one turn, as in OpenAI's API. `metadata` is not stored.
 * Source:  https://platform.openai.com/docs/api-reference/responses
 * Proof:   test/e2e/responses.test.ts
 * @module
 */
import { wipeBytes } from '../../base/bytes.ts';
import type { ByteWriter } from '../bytes/byte-writer.ts';
import { unknownSession } from '../session/session-errors.ts';
import type { Item } from '../session/transcript.ts';
import type { FinishReason, Message, Sampling, Usage } from '../types.ts';
import { itemTextTypes, readMessages } from './chat-messages.ts';
import { defaultSampling, readModel } from './chat-request.ts';
import { Field, maxInt, outOfRange, unsupported, wrongType } from './field.ts';
import { writeItem } from './response-json.ts';
import { unsupportedResponseFields } from './unsupported-fields.ts';

/** A validated `POST /v1/responses` request. */
export type ResponseRequest = {
  readonly model: string;
  readonly instructions: readonly Message[];
  readonly input: readonly Message[];
  readonly store: boolean;
  /** Id of the response that this one continues from. */
  readonly previous: ResponseId | undefined;
  /** Id of the conversation that this response belongs to: 32 hexadecimal digits. */
  readonly conversation: string | undefined;
  readonly maxTokens: number | null;
  readonly sampling: Sampling;
  /** Overwrites every text of the request; safe to call twice. */
  [Symbol.dispose](): void;
};

/** The two parts of a response's id. */
type ResponseId = { readonly session: string; readonly turn: number };

/** Returns the id of a stored response. */
export const responseId = (session: string, turn: number): string =>
  `resp_${session}${turn.toString(16).padStart(8, '0')}`;

/** Parses the id of a stored response. @throws RequestError `SESSION_NOT_FOUND` */
export function parseResponseId(text: string): ResponseId {
  const match = /^resp_([0-9a-f]{32})([0-9a-f]{8})$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) throw unknownSession();
  return { session: match[1], turn: Number.parseInt(match[2], 16) };
}

const longestId = 64;

function readInput(input: Field, owned: Buffer[]): Message[] {
  if (!input.isString) return readMessages(input, { owned, textTypes: itemTextTypes });
  return [{ role: 'user', parts: [input.text(owned)] }];
}

function readInstructions(instructions: Field, owned: Buffer[]): Message[] {
  if (!instructions.isString) throw wrongType(instructions.path, 'a string');
  return [{ role: 'system', parts: [instructions.text(owned)] }];
}

function readConversation(conversation: Field): string {
  const id = (conversation.isObject ? conversation.member('id') : conversation)?.ascii(longestId);
  if (id === undefined) throw wrongType(conversation.path, 'an id or an object with one');
  const digits = /^conv_([0-9a-f]{32})$/.exec(id)?.[1];
  if (digits === undefined) throw unknownSession();
  return digits;
}

function readPrevious(previous: Field): ResponseId {
  const id = previous.ascii(longestId);
  if (id === undefined) throw wrongType(previous.path, 'an id');
  return parseResponseId(id);
}

/**
 * Parses the body of a response request. The caller overwrites `body`, and disposes the request after use.
 * @throws RequestError `REQUEST_*`, `SESSION_NOT_FOUND`, after overwriting every copied text
 */
export function parseResponseRequest(body: Buffer): ResponseRequest {
  const owned: Buffer[] = [];
  const dispose = () => {
    for (const text of owned) wipeBytes(text);
  };
  try {
    const root = Field.root(body);
    for (const [name, noEffect] of unsupportedResponseFields) {
      const field = root.member(name);
      if (field !== undefined && !noEffect(field)) throw unsupported(name);
    }
    const model = readModel(root.required('model'));
    const input = readInput(root.required('input'), owned);
    const instructions = root.member('instructions');
    const previous = root.member('previous_response_id');
    const conversation = root.member('conversation');
    if (previous !== undefined && conversation !== undefined)
      throw outOfRange('conversation', 'omitted if previous_response_id is given');
    return {
      model,
      instructions: instructions === undefined ? [] : readInstructions(instructions, owned),
      input,
      store: root.member('store')?.boolean() ?? true,
      previous: previous === undefined ? undefined : readPrevious(previous),
      conversation: conversation === undefined ? undefined : readConversation(conversation),
      maxTokens: root.member('max_output_tokens')?.integer(1, maxInt) ?? null,
      sampling: {
        ...defaultSampling,
        temperature: root.member('temperature')?.number(0, 2) ?? defaultSampling.temperature,
        topP: root.member('top_p')?.number(0, 1) ?? defaultSampling.topP,
      },
      [Symbol.dispose]: dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** A response without its usage. */
type ResponseObject = {
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  readonly model: string;
  /** The id of the conversation in the vault, or `undefined` if nothing is stored. */
  readonly session: string | undefined;
  readonly output: readonly Pick<Item, 'id' | 'role' | 'text'>[];
  readonly reason: FinishReason;
};

/** Writes a response. `usage` is unknown for a stored response. */
export function writeResponse(out: ByteWriter, response: ResponseObject, usage?: Usage): void {
  const { id, created, model, session, output, reason } = response;
  const complete = reason !== 'length';
  out
    .ascii(`{"id":"${id}","object":"response","created_at":${created}`)
    .ascii(`,"status":"${complete ? 'completed' : 'incomplete'}","error":null,"incomplete_details":`)
    .ascii(complete ? 'null' : '{"reason":"max_output_tokens"}')
    .ascii(',"model":')
    .quoted(model)
    .ascii(`,"conversation":${session === undefined ? 'null' : `{"id":"conv_${session}"}`}`)
    .ascii(`,"store":${session === undefined ? 'false' : 'true'},"output":[`);
  output.forEach((item, index) => {
    if (index > 0) out.ascii(',');
    writeItem(out, item);
  });
  out.ascii('],"parallel_tool_calls":false,"tool_choice":"none","tools":[],"metadata":{},"usage":');
  if (usage === undefined) out.ascii('null}');
  else {
    const { promptTokens, completionTokens, cachedTokens = 0 } = usage;
    out
      .ascii(`{"input_tokens":${promptTokens},"input_tokens_details":{"cached_tokens":${cachedTokens}}`)
      .ascii(`,"output_tokens":${completionTokens},"output_tokens_details":{"reasoning_tokens":0}`)
      .ascii(`,"total_tokens":${promptTokens + completionTokens}}}`);
  }
}
