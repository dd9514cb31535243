/**
 * What goes into a chat template and what comes out.
 *
 * Promise: text of a conversation is bytes on both sides.
 * @module
 */

/** Who speaks; the same five that OpenAI's API has. */
export type Role = 'system' | 'developer' | 'user' | 'assistant' | 'tool';

/** One message; its parts are UTF-8 text, each in memory of its own. Several parts are read as lines of one text. */
export type Message = { readonly role: Role; readonly parts: readonly Buffer[] };

/**
 * A piece of a prompt: the template's own text (special tokens on) or bytes of the conversation (special tokens off).
 */
export type PromptPiece =
  { readonly kind: 'template'; readonly text: string } | { readonly kind: 'text'; readonly bytes: Buffer };

/**
 * A rendered prompt. Its text pieces are views into the messages, or bytes derived from them (JSON escapes);
 * `[Symbol.dispose]` overwrites the derived ones, so dispose it before or after the request, but do.
 */
export type Prompt = { readonly pieces: readonly PromptPiece[]; [Symbol.dispose](): void };
