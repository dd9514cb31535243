/**
 * What the parts of the engine share: a chat request, its sampling, and the errors that a client sees.
 *
 * Promise: of a request only roles, the model's name, booleans and numbers are JavaScript values; every text is bytes
 *          in plaintext memory that `[Symbol.dispose]` overwrites.
 * Trust:   a `RequestError` is sent to the client as it is: its message and parameter are made of constants, numbers
 *          and names of fields.
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import type { Message } from '../template/piece.ts';

export type { Message, Prompt, PromptPiece, Role } from '../template/piece.ts';

export type LogitBias = { readonly token: number; readonly bias: number };

/** How the next token is chosen; every number is within its range. */
export type Sampling = {
  /** 0: greedy. */
  readonly temperature: number;
  /** 0: off. */
  readonly topK: number;
  /** 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly minP: number;
  /** `null`: random. */
  readonly seed: number | null;
  /** 1: off. */
  readonly repeatPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** How many of the last tokens the three penalties consider. */
  readonly repeatLastN: number;
  readonly logitBias: readonly LogitBias[];
};

/** A checked `POST /v1/chat/completions`. */
export type ChatRequest = {
  /** Printable ASCII, at most 256 characters; not compared with the served model yet. */
  readonly model: string;
  /** At least one. */
  readonly messages: readonly Message[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** `null`: up to the end of the context. */
  readonly maxTokens: number | null;
  /** At most four, none empty. */
  readonly stop: readonly Buffer[];
  readonly sampling: Sampling;
  /** Overwrites every text of the request; safe to call twice. */
  [Symbol.dispose](): void;
};

/** OpenAI's types of errors. */
type ErrorType = 'invalid_request_error' | 'not_found_error' | 'rate_limit_error' | 'server_error';

/** OpenAI's `finish_reason`. */
export type FinishReason = 'stop' | 'length';

export type Usage = {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens whose KV state was reused. */
  readonly cachedTokens?: number;
};

function typeOf(status: number): ErrorType {
  if (status === 404) return 'not_found_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

/** An error response: HTTP status, the field it is about, and a stable code. */
export class RequestError extends KwyreError {
  readonly status: number;
  readonly type: ErrorType;
  /** The path of the field, such as `messages[2].content`; `null` for none. */
  readonly parameter: string | null;

  constructor(
    code: `REQUEST_${string}` | `ENGINE_${string}` | `TEMPLATE_${string}` | `SESSION_${string}`,
    message: string,
    parameter: string | null = null,
    status = 400,
  ) {
    super(code, message);
    this.status = status;
    this.type = typeOf(status);
    this.parameter = parameter;
  }

  /** The code in the response: `REQUEST_MODEL_NOT_FOUND` becomes `model_not_found`. */
  get publicCode(): string {
    return this.code.replace(/^REQUEST_/, '').toLowerCase();
  }
}
