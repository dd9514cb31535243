/**
 * The messages of a request. Roles are read as names, contents as bytes.
 *
 * Promise: names, tool call ids and unknown members are skipped. Images, audio and files are refused.
 * Proof:   test/unit/engine/chat-request.test.ts
 * @module
 */
import { plaintextBytes, wipeBytes } from '../../base/bytes.ts';
import type { Message, Role } from '../types.ts';
import { RequestError } from '../types.ts';
import type { Field } from './field.ts';
import { missing, outOfRange, unsupported, wrongType } from './field.ts';

const messageLimits = { messages: 4096, parts: 1024 } as const;

const roles: readonly Role[] = ['system', 'developer', 'user', 'assistant', 'tool'];

/** The types of parts that contain text, in chat completion messages and in items of conversations and responses. */
const messageTextTypes: readonly string[] = ['text'];
export const itemTextTypes: readonly string[] = ['input_text', 'output_text', 'text'];

/** Options for reading messages. */
type MessageOptions = {
  /** Receives every text before anything can fail. Its owner overwrites the texts. */
  readonly owned: Buffer[];
  readonly textTypes?: readonly string[];
};

/** Joins the texts of an array of parts with line feeds. */
function joinParts(parts: Field, owned: Buffer[], textTypes: readonly string[]): Buffer {
  const texts: Field[] = [];
  for (const part of parts.elements()) {
    if (texts.length >= messageLimits.parts) throw outOfRange(parts.path, `at most ${messageLimits.parts} parts`);
    if (!part.isObject) throw wrongType(part.path, 'an object');
    const type = part.required('type');
    if (!type.isString) throw wrongType(type.path, 'a string');
    if (!textTypes.some((name) => type.equals(name)))
      throw new RequestError(
        'REQUEST_CONTENT_UNSUPPORTED',
        `${type.path} must be ${textTypes.join(' or ')}: this model does not accept images, audio or files`,
        type.path,
      );
    const text = part.required('text');
    if (!text.isString) throw wrongType(text.path, 'a string');
    texts.push(text);
  }
  const pieces = texts.map((text) => text.text(owned));
  if (pieces.length === 1 && pieces[0] !== undefined) return pieces[0];
  const joined = plaintextBytes(pieces.reduce((sum, piece) => sum + piece.length, 0) + Math.max(0, pieces.length - 1));
  owned.push(joined);
  let offset = 0;
  pieces.forEach((piece, i) => {
    if (i > 0) joined[offset++] = 0x0a;
    joined.set(piece, offset);
    offset += piece.length;
    wipeBytes(piece);
  });
  return joined;
}

function readMessage(message: Field, owned: Buffer[], textTypes: readonly string[]): Message {
  if (!message.isObject) throw wrongType(message.path, 'an object');
  const roleField = message.required('role');
  const role = roles.find((name) => roleField.equals(name));
  if (role === undefined) throw outOfRange(roleField.path, `one of ${roles.join(', ')}`);
  const calls = message.member('tool_calls');
  if (calls !== undefined && !calls.isEmptyArray) throw unsupported(calls.path);
  for (const name of ['function_call', 'audio'] as const) {
    const field = message.member(name);
    if (field !== undefined) throw unsupported(field.path);
  }
  const content = message.member('content');
  if (content === undefined) {
    if (role !== 'assistant') throw missing(`${message.path}.content`);
    return { role, parts: [] };
  }
  if (content.isArray) return { role, parts: [joinParts(content, owned, textTypes)] };
  if (!content.isString) throw wrongType(content.path, 'a string or an array of text parts');
  return { role, parts: [content.text(owned)] };
}

/** Reads a list of messages. @throws RequestError `REQUEST_FIELD_*`, `REQUEST_CONTENT_UNSUPPORTED` */
export function readMessages(list: Field, { owned, textTypes = messageTextTypes }: MessageOptions): Message[] {
  if (!list.isArray) throw wrongType(list.path, 'an array');
  const messages: Message[] = [];
  for (const message of list.elements()) {
    if (messages.length >= messageLimits.messages)
      throw outOfRange(list.path, `at most ${messageLimits.messages} messages`);
    messages.push(readMessage(message, owned, textTypes));
  }
  if (messages.length === 0) throw outOfRange(list.path, 'a list of at least one message');
  return messages;
}
