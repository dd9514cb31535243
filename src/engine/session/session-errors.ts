/**
 * The errors that a client receives about a conversation.
 *
 * Promise: the id of another token's conversation and an unknown id produce the same error.
 * Proof:   test/attacks/5-sessions.test.ts
 * @module
 */
import type { EndReason } from '../../layers/5-memory/session.ts';
import { sessionNotFoundMessage } from '../../wire/data-payloads.ts';
import { RequestError } from '../types.ts';

const goneMessages: Readonly<Record<EndReason, string>> = {
  ended: 'this conversation was wiped',
  idle: 'this conversation was wiped because it was idle for too long',
  pressure: "this conversation was wiped to make room: it was the token's least recently used conversation",
};

export const sessionGone = (why: EndReason): RequestError =>
  new RequestError('SESSION_GONE', goneMessages[why], null, 410);

export const unknownSession = (): RequestError =>
  new RequestError('SESSION_NOT_FOUND', sessionNotFoundMessage, null, 404);

export const sessionBusy = (): RequestError =>
  new RequestError('SESSION_BUSY', 'another turn of this conversation is in progress', null, 409);

export const sessionTooLarge = (): RequestError =>
  new RequestError('SESSION_TOO_LARGE', 'this conversation exceeds the memory limit for one conversation', null, 507);

export const sessionMemory = (): RequestError =>
  new RequestError('SESSION_MEMORY', 'there is not enough memory to open this conversation', null, 507);
