/**
 * Types shared by the parts of the engine: chat requests, sampling parameters, and the errors that a client sees.
 *
 * Promise: in a request, only roles, the model's name, booleans and numbers are JavaScript values. Every text is bytes
 *          in plaintext memory that `[Symbol.dispose]` overwrites.
 * Trust:   a `RequestError` is sent to the client unchanged, so its message and parameter consist of constants, numbers
 *          and field names.
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import type { Message } from '../template/piece.ts';

export type { Message, Prompt, PromptPiece, Role } from '../template/piece.ts';

export type LogitBias = { readonly token: number; readonly bias: number };

/** The parameters for choosing the next token. Every number is within its range. */
export type Sampling = {
  /** 0 selects greedy sampling. */
  readonly temperature: number;
  /** 0 means off. */
  readonly topK: number;
  /** 1 means off. */
  readonly topP: number;
  /** 0 means off. */
  readonly minP: number;
  /** `null` means random. */
  readonly seed: number | null;
  /** 1 means off. */
  readonly repeatPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** Number of most recent tokens that the three penalties consider. */
  readonly repeatLastN: number;
  readonly logitBias: readonly LogitBias[];
};

/** A validated `POST /v1/chat/completions` request. */
export type ChatRequest = {
  /** At most 256 printable ASCII characters; not yet compared with the served model's name. */
  readonly model: string;
  /** At least one message. */
  readonly messages: readonly Message[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** `null` means up to the end of the context. */
  readonly maxTokens: number | null;
  /** At most four stop strings, none of them empty. */
  readonly stop: readonly Buffer[];
  readonly sampling: Sampling;
  /** Overwrites every text of the request; safe to call twice. */
  [Symbol.dispose](): void;
};

/** OpenAI's error types. */
type ErrorType = 'invalid_request_error' | 'not_found_error' | 'rate_limit_error' | 'server_error';

/** OpenAI's `finish_reason`. */
export type FinishReason = 'stop' | 'length';

export type Usage = {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Number of prompt tokens whose KV state was reused. */
  readonly cachedTokens?: number;
};

function typeOf(status: number): ErrorType {
  if (status === 404) return 'not_found_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

/** An error response with an HTTP status, the field that caused it, and a stable code. */
export class RequestError extends KwyreError {
  readonly status: number;
  readonly type: ErrorType;
  /** Path of the field that caused the error, such as `messages[2].content`, or `null`. */
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

  /** The code in the response; for example, `REQUEST_MODEL_NOT_FOUND` becomes `model_not_found`. */
  get publicCode(): string {
    return this.code.replace(/^REQUEST_/, '').toLowerCase();
  }
}
