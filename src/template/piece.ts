/**
 * The input and output of a chat template.
 *
 * Promise: conversation text is bytes in both the input and the output.
 * @module
 */

/** The five roles of OpenAI's API. */
export type Role = 'system' | 'developer' | 'user' | 'assistant' | 'tool';

/** One message. Its parts are UTF-8 text in separate buffers; multiple parts are joined with line breaks. */
export type Message = { readonly role: Role; readonly parts: readonly Buffer[] };

/** A piece of a prompt: template text, which may contain special tokens, or conversation text, which may not. */
export type PromptPiece =
  { readonly kind: 'template'; readonly text: string } | { readonly kind: 'text'; readonly bytes: Buffer };

/**
 * A rendered prompt. Its text pieces are views of the messages, or bytes derived from them (such as JSON escapes). The
 * caller must dispose the prompt, which overwrites the derived bytes.
 */
export type Prompt = { readonly pieces: readonly PromptPiece[]; [Symbol.dispose](): void };
