/**
 * From the pieces of a prompt to tokens, in memory of their own that its generation overwrites.
 *
 * Promise: text of the conversation is tokenised with control tokens off: it can never open a turn of its own.
 * Proof:   test/e2e/engine.test.ts
 * @module
 */
import { constantBytes } from '../base/bytes.ts';
import type { TokenRun } from './generation.ts';
import type { Llama } from './llama.ts';
import type { PromptPiece } from './request.ts';
import { RequestError } from './request.ts';

/** No token of any vocabulary stands for more bytes on average; longer prompts are refused without tokenising them. */
const bytesPerToken = 256;

/**
 * Tokenises a prompt.
 * @throws `REQUEST_CONTEXT_LENGTH_EXCEEDED` when it leaves no room for an answer.
 */
export function encodePrompt(llama: Llama, pieces: readonly PromptPiece[]): TokenRun {
  const limit = llama.contextTokens;
  const size = pieces.reduce((sum, piece) => sum + (piece.kind === 'text' ? piece.bytes.length : piece.text.length), 0);
  if (size > limit * bytesPerToken) throw tooLong(undefined, limit);
  const tokens = new Int32Array(new ArrayBuffer(4 * (size + pieces.length + 8)));
  let length = 0;
  const begin = llama.beginning;
  const append = (bytes: Uint8Array, special: boolean) => {
    const count = llama.tokenize(bytes, tokens.subarray(length), special);
    if (count < 0) throw tooLong(undefined, limit);
    length += count;
  };
  try {
    for (const piece of pieces) {
      if (piece.kind === 'text') append(piece.bytes, false);
      else append(constantBytes(piece.text), true);
    }
    // Many templates write the first token themselves; it must stand there once.
    if (begin !== undefined && tokens[0] !== begin) {
      tokens.copyWithin(1, 0, length);
      tokens[0] = begin;
      length += 1;
    }
    if (length >= limit) throw tooLong(length, limit);
    if (length === 0) throw new RequestError('REQUEST_MESSAGES_EMPTY', 'messages render to an empty prompt', 'messages');
    return { tokens, length };
  } catch (error) {
    tokens.fill(0);
    throw error;
  }
}

function tooLong(length: number | undefined, limit: number): RequestError {
  const seen = length === undefined ? 'more tokens than that' : `${length} tokens`;
  return new RequestError('REQUEST_CONTEXT_LENGTH_EXCEEDED', `this model's context is ${limit} tokens, and the messages are ${seen}`, 'messages');
}
