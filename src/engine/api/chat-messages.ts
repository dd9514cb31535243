/**
 * The messages of a chat request: roles as names, contents as bytes.
 *
 * Promise: names, tool call ids and whatever else a message carries is skipped; images, audio and files are refused.
 * Proof:   test/unit/engine/chat-request.test.ts
 * @module
 */
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';
import { given, missing, outOfRange, unsupported, wrongType } from './field.ts';
import type { Message, Role } from '../types.ts';
import { RequestError } from '../types.ts';
import type { JsonNode, JsonTree } from '../bytes/json-tree.ts';
import { jsonKinds } from '../bytes/json-tree.ts';

export const messageLimits = { messages: 4096, parts: 1024 } as const;

const roles: readonly Role[] = ['system', 'developer', 'user', 'assistant', 'tool'];

/** The text of an array of parts, joined by line feeds in memory of its own. */
function joinParts(tree: JsonTree, list: JsonNode, at: string, owned: Buffer[], types: readonly string[]): Buffer {
  const texts: JsonNode[] = [];
  for (const part of tree.elements(list)) {
    const place = `${at}[${texts.length}]`;
    if (texts.length >= messageLimits.parts) throw outOfRange(at, `at most ${messageLimits.parts} parts`);
    if (tree.kind(part) !== jsonKinds.object) throw wrongType(place, 'an object');
    const type = given(tree, part, 'type');
    if (type === undefined) throw missing(`${place}.type`);
    if (!tree.isString(type)) throw wrongType(`${place}.type`, 'a string');
    if (!types.some((name) => tree.is(type, name)))
      throw new RequestError(
        'REQUEST_CONTENT_UNSUPPORTED',
        `${place}.type must be ${types.join(' or ')}: this model takes no images, audio or files`,
        `${place}.type`,
      );
    const text = given(tree, part, 'text');
    if (text === undefined) throw missing(`${place}.text`);
    if (!tree.isString(text)) throw wrongType(`${place}.text`, 'a string');
    texts.push(text);
  }
  const pieces = texts.map((node) => {
    const text = tree.text(node);
    owned.push(text);
    return text;
  });
  if (pieces.length === 1 && pieces[0] !== undefined) return pieces[0];
  const whole = plaintextBytes(pieces.reduce((sum, piece) => sum + piece.length, 0) + Math.max(0, pieces.length - 1));
  owned.push(whole);
  let offset = 0;
  pieces.forEach((piece, i) => {
    if (i > 0) whole[offset++] = 0x0a;
    whole.set(piece, offset);
    offset += piece.length;
    wipeBytes(piece);
  });
  return whole;
}

function readMessage(tree: JsonTree, node: JsonNode, at: string, owned: Buffer[], types: readonly string[]): Message {
  if (tree.kind(node) !== jsonKinds.object) throw wrongType(at, 'an object');
  const roleNode = given(tree, node, 'role');
  if (roleNode === undefined) throw missing(`${at}.role`);
  const role = tree.isString(roleNode) ? roles.find((name) => tree.is(roleNode, name)) : undefined;
  if (role === undefined) throw outOfRange(`${at}.role`, `one of ${roles.join(', ')}`);
  const calls = given(tree, node, 'tool_calls');
  if (calls !== undefined && !(tree.kind(calls) === jsonKinds.array && tree.count(calls) === 0))
    throw unsupported(`${at}.tool_calls`);
  for (const name of ['function_call', 'audio'] as const)
    if (given(tree, node, name) !== undefined) throw unsupported(`${at}.${name}`);
  const content = given(tree, node, 'content');
  if (content === undefined) {
    if (role !== 'assistant') throw missing(`${at}.content`);
    return { role, parts: [] };
  }
  if (tree.kind(content) === jsonKinds.array)
    return { role, parts: [joinParts(tree, content, `${at}.content`, owned, types)] };
  if (!tree.isString(content)) throw wrongType(`${at}.content`, 'a string or an array of text parts');
  const text = tree.text(content);
  owned.push(text);
  return { role, parts: [text] };
}

/** How a list of messages is called, and its parts of text. */
export type MessageForm = { readonly field: string; readonly textTypes: readonly string[] };

const chatForm: MessageForm = { field: 'messages', textTypes: ['text'] };

/** Items of conversations: messages by another name. */
export const itemForm = (field: string): MessageForm => ({ field, textTypes: ['input_text', 'output_text', 'text'] });

/** Reads `messages`; every text goes into `owned` before anything can fail. */
export function readMessages(
  tree: JsonTree,
  list: JsonNode,
  owned: Buffer[],
  { field, textTypes }: MessageForm = chatForm,
): Message[] {
  if (tree.kind(list) !== jsonKinds.array) throw wrongType(field, 'an array');
  const messages: Message[] = [];
  for (const node of tree.elements(list)) {
    if (messages.length >= messageLimits.messages)
      throw outOfRange(field, `at most ${messageLimits.messages} messages`);
    messages.push(readMessage(tree, node, `${field}[${messages.length}]`, owned, textTypes));
  }
  if (messages.length === 0) throw outOfRange(field, 'a list of at least one message');
  return messages;
}
