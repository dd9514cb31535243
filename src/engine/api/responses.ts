/**
 * `/v1/responses`, text only: the request, the answer, and what is told of a stored one later.
 *
 * A stored response is a turn of a conversation in the vault: its id is the conversation's and the number of the turn.
 * Going on from the latest response continues that conversation; going on from an earlier one begins another with what
 * was said until then.
 * Promise: as chat-request.ts: texts stay bytes; an error names the field, never its value. `store` means: in memory,
 *          sealed.
 * Limits:  no streaming events, tools, images or background yet: asked for, they are refused by name. `instructions`
 *          count for one turn, as OpenAI has it. `metadata` is not kept.
 * Source:  https://platform.openai.com/docs/api-reference/responses
 * Proof:   test/e2e/responses.test.ts
 * @module
 */
import { wipeBytes } from '../../base/bytes.ts';
import type { ByteWriter } from '../bytes/byte-writer.ts';
import { flag, given, integer, missing, number, outOfRange, unsupported, wrongType } from './field.ts';
import { parseJson } from '../bytes/json-parser.ts';
import { unknownSession } from '../session/session-store.ts';
import { itemForm, readMessages } from './chat-messages.ts';
import { defaultSampling, requestLimits } from './chat-request.ts';
import type { FinishReason, Message, Sampling, Usage } from '../types.ts';
import { RequestError } from '../types.ts';
import type { JsonNode, JsonTree } from '../bytes/json-tree.ts';
import { jsonKinds } from '../bytes/json-tree.ts';
import type { Item } from '../session/transcript.ts';
import { writeItem } from './response-json.ts';

/** A checked `POST /v1/responses`. */
export type ResponseRequest = {
  readonly model: string;
  readonly instructions: readonly Message[];
  readonly input: readonly Message[];
  readonly store: boolean;
  /** The response that this one goes on from. */
  readonly previous: ResponseId | undefined;
  /** The conversation that it is a turn of: 32 hexadecimal digits. */
  readonly conversation: string | undefined;
  readonly maxTokens: number | null;
  readonly sampling: Sampling;
  [Symbol.dispose](): void;
};

/** A response's id taken apart. */
export type ResponseId = { readonly session: string; readonly turn: number };

/** The id of a stored response. */
export const responseId = (session: string, turn: number): string =>
  `resp_${session}${turn.toString(16).padStart(8, '0')}`;

/** Takes an id apart. @throws RequestError `SESSION_NOT_FOUND` */
export function parseResponseId(text: string): ResponseId {
  const match = /^resp_([0-9a-f]{32})([0-9a-f]{8})$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) throw unknownSession();
  return { session: match[1], turn: Number.parseInt(match[2], 16) };
}

const maxInt = 2 ** 31 - 1;
const longestId = 64;

/** Known fields that would change the answer and are not honoured yet; each may say that it asks for nothing. */
const refused: readonly (readonly [name: string, neutral: (tree: JsonTree, node: JsonNode) => boolean])[] = [
  ['stream', (tree, node) => tree.kind(node) === jsonKinds.false],
  ['background', (tree, node) => tree.kind(node) === jsonKinds.false],
  ['tools', (tree, node) => tree.kind(node) === jsonKinds.array && tree.count(node) === 0],
  ['tool_choice', (tree, node) => tree.isString(node) && (tree.is(node, 'none') || tree.is(node, 'auto'))],
  ['truncation', (tree, node) => tree.isString(node) && tree.is(node, 'disabled')],
  ['prompt', () => false],
  [
    'text',
    (tree, node) => {
      const format = tree.kind(node) === jsonKinds.object ? given(tree, node, 'format') : undefined;
      if (format === undefined) return tree.kind(node) === jsonKinds.object;
      const type = tree.kind(format) === jsonKinds.object ? given(tree, format, 'type') : undefined;
      return type !== undefined && tree.isString(type) && tree.is(type, 'text');
    },
  ],
];

function readInput(tree: JsonTree, node: JsonNode, owned: Buffer[]): Message[] {
  if (!tree.isString(node)) return readMessages(tree, node, owned, itemForm('input'));
  const text = tree.text(node);
  owned.push(text);
  return [{ role: 'user', parts: [text] }];
}

function readConversation(tree: JsonTree, node: JsonNode): string {
  const id = tree.kind(node) === jsonKinds.object ? given(tree, node, 'id') : node;
  const text = id === undefined ? undefined : tree.ascii(id, longestId);
  if (text === undefined) throw wrongType('conversation', 'an id or an object with one');
  return /^conv_([0-9a-f]{32})$/.exec(text)?.[1] ?? refuseUnknown();
}

function refuseUnknown(): never {
  throw unknownSession();
}

/** Parses the body. @throws RequestError `REQUEST_*`, `SESSION_NOT_FOUND`; nothing of the body is left then. */
export function parseResponseRequest(body: Buffer): ResponseRequest {
  const owned: Buffer[] = [];
  const dispose = () => {
    for (const text of owned) wipeBytes(text);
  };
  try {
    const tree = parseJson(body);
    if (tree.kind(0) !== jsonKinds.object)
      throw new RequestError('REQUEST_JSON_SHAPE', 'the body must be a JSON object');
    const field = (name: string) => given(tree, 0, name);
    for (const [name, neutral] of refused) {
      const node = field(name);
      if (node !== undefined && !neutral(tree, node)) throw unsupported(name);
    }
    const modelNode = field('model');
    if (modelNode === undefined) throw missing('model');
    const model = tree.ascii(modelNode, requestLimits.modelLength);
    if (model === undefined)
      throw wrongType('model', `a name of 1 to ${requestLimits.modelLength} printable ASCII characters`);
    const inputNode = field('input');
    if (inputNode === undefined) throw missing('input');
    const input = readInput(tree, inputNode, owned);
    const instructionsNode = field('instructions');
    const instructions: Message[] = [];
    if (instructionsNode !== undefined) {
      if (!tree.isString(instructionsNode)) throw wrongType('instructions', 'a string');
      const text = tree.text(instructionsNode);
      owned.push(text);
      instructions.push({ role: 'system', parts: [text] });
    }
    const storeNode = field('store');
    const previousNode = field('previous_response_id');
    const conversationNode = field('conversation');
    if (previousNode !== undefined && conversationNode !== undefined)
      throw outOfRange('conversation', 'left out where previous_response_id is given');
    const previous = previousNode === undefined ? undefined : tree.ascii(previousNode, longestId);
    if (previousNode !== undefined && previous === undefined) throw wrongType('previous_response_id', 'an id');
    const temperature = field('temperature');
    const topP = field('top_p');
    const most = field('max_output_tokens');
    return {
      model,
      instructions,
      input,
      store: storeNode === undefined || flag(tree, storeNode, 'store'),
      previous: previous === undefined ? undefined : parseResponseId(previous),
      conversation: conversationNode === undefined ? undefined : readConversation(tree, conversationNode),
      maxTokens: most === undefined ? null : integer(tree, most, 'max_output_tokens', 1, maxInt),
      sampling: {
        ...defaultSampling,
        ...(temperature === undefined ? {} : { temperature: number(tree, temperature, 'temperature', 0, 2) }),
        ...(topP === undefined ? {} : { topP: number(tree, topP, 'top_p', 0, 1) }),
      },
      [Symbol.dispose]: dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** What the JSON of a response repeats of its request. */
export type ResponseHeadFacts = {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  /** The conversation in the vault, or `undefined` when nothing is stored. */
  readonly session: string | undefined;
};

/** Writes a response around its output. */
export function writeResponse(
  out: ByteWriter,
  head: ResponseHeadFacts,
  output: readonly Pick<Item, 'id' | 'role' | 'text'>[],
  reason: FinishReason,
  usage: Usage | undefined,
): void {
  out.ascii(
    `{"id":"${head.id}","object":"response","created_at":${head.created},"status":"${reason === 'length' ? 'incomplete' : 'completed'}","error":null,"incomplete_details":`,
  );
  out
    .ascii(reason === 'length' ? '{"reason":"max_output_tokens"}' : 'null')
    .ascii(',"model":')
    .quoted(head.model);
  out.ascii(
    `,"conversation":${head.session === undefined ? 'null' : `{"id":"conv_${head.session}"}`},"store":${head.session === undefined ? 'false' : 'true'},"output":[`,
  );
  output.forEach((item, index) => {
    if (index > 0) out.ascii(',');
    writeItem(out, item);
  });
  out.ascii('],"parallel_tool_calls":false,"tool_choice":"none","tools":[],"metadata":{},"usage":');
  if (usage === undefined) out.ascii('null}');
  else {
    const { promptTokens, completionTokens, cachedTokens = 0 } = usage;
    out.ascii(
      `{"input_tokens":${promptTokens},"input_tokens_details":{"cached_tokens":${cachedTokens}},"output_tokens":${completionTokens},"output_tokens_details":{"reasoning_tokens":0},"total_tokens":${promptTokens + completionTokens}}}`,
    );
  }
}
