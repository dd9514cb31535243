/**
 * What the parts of the engine hand one another: a chat request, its prompt, and the error that a client may see.
 *
 * Promise: of a request only roles, the model's name, flags and numbers are JavaScript values; every text is bytes in
 *          memory of its own that `[Symbol.dispose]` overwrites.
 * Trust:   a `RequestError` is shown to the client as it is: its message and parameter are made of constants and
 *          numbers.
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import type { Message } from '../template/piece.ts';

export type { Message, Prompt, PromptPiece, Role } from '../template/piece.ts';

export type LogitBias = { readonly token: number; readonly bias: number };

/** How the next token is chosen; every number has been checked against its range. */
export type Sampling = {
  /** 0 is greedy. */
  readonly temperature: number;
  /** 0 switches it off. */
  readonly topK: number;
  /** 1 switches it off. */
  readonly topP: number;
  /** 0 switches it off. */
  readonly minP: number;
  /** `null`: a fresh random one. */
  readonly seed: number | null;
  /** 1 switches it off. */
  readonly repeatPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** How many of the last tokens the three penalties look at. */
  readonly repeatLastN: number;
  readonly logitBias: readonly LogitBias[];
};

/** A checked `POST /v1/chat/completions`. */
export type ChatRequest = {
  readonly kind: 'chat';
  /** Printable ASCII, at most 256 characters; whether it is served is for the caller to say. */
  readonly model: string;
  /** At least one. */
  readonly messages: readonly Message[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** `null`: as far as the context reaches. */
  readonly maxTokens: number | null;
  /** At most four, none empty. */
  readonly stop: readonly Buffer[];
  readonly sampling: Sampling;
  /** Overwrites every text of the request; safe to call twice. */
  [Symbol.dispose](): void;
};

export type ErrorType = 'invalid_request_error' | 'not_found_error' | 'rate_limit_error' | 'server_error';

/** How a request ended. */
export type FinishReason = 'stop' | 'length';

export type Usage = {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Tokens of the prompt that were remembered and not computed again. */
  readonly cachedTokens?: number;
};

/** An error that answers a request: status, the field it is about, and a stable code. */
export class RequestError extends KwyreError {
  readonly status: number;
  readonly type: ErrorType;
  /** The path of the field (`messages[2].content`), made of names of ours and numbers; `null` for none. */
  readonly parameter: string | null;

  constructor(
    code: `REQUEST_${string}` | `ENGINE_${string}` | `TEMPLATE_${string}` | `SESSION_${string}`,
    message: string,
    parameter: string | null = null,
    status = 400,
  ) {
    super(code, message);
    this.status = status;
    this.type =
      status === 404
        ? 'not_found_error'
        : status === 429
          ? 'rate_limit_error'
          : status >= 500
            ? 'server_error'
            : 'invalid_request_error';
    this.parameter = parameter;
  }

  /** The code in the answer's body: `REQUEST_MODEL_NOT_FOUND` is `model_not_found` there. */
  get publicCode(): string {
    return this.code.replace(/^REQUEST_/, '').toLowerCase();
  }
}
