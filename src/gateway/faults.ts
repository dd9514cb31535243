/**
 * The errors that the gateway itself responds with.
 *
 * Promise: status, code and message are constants. No part of a request is echoed.
 * Proof:   test/attacks/1-paths.test.ts, test/attacks/1-tokens.test.ts, test/attacks/1-limits.test.ts
 * @module
 */
import { sessionNotFoundMessage } from '../wire/data-payloads.ts';

/** An error in the form that a client receives. */
export type Fault = {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfterSeconds?: number;
};

/** Limit on the size of the request line and headers together. */
export const maxHeaderBytes = 16 * 1024;

export const faults = {
  // Errors about the token.
  unauthorized: {
    status: 401,
    code: 'invalid_api_key',
    message: "This request needs the server's API token. ./kwyre token prints it.",
  },
  ambiguousToken: {
    status: 401,
    code: 'invalid_api_key',
    message: 'Send the token only once, as Authorization: Bearer or as x-api-key.',
  },
  tooManyAttempts: {
    status: 429,
    code: 'too_many_attempts',
    message: 'Too many wrong tokens. The correct one still works.',
  },
  revoked: {
    status: 401,
    code: 'invalid_api_key',
    message: 'This token has been revoked. ./kwyre token add NAME creates another one.',
  },
  // Errors about the request.
  malformed: { status: 400, code: 'request_malformed', message: 'This is not a well-formed HTTP request.' },
  headersTooLarge: {
    status: 431,
    code: 'headers_too_large',
    message: `The headers may be at most ${maxHeaderBytes} bytes long.`,
  },
  requestTimeout: { status: 408, code: 'request_timeout', message: 'The request took too long.' },
  notFound: { status: 404, code: 'not_found', message: 'This path does not exist.' },
  wrongMethod: { status: 405, code: 'method_not_allowed', message: 'This path does not support this method.' },
  sessionRepeated: {
    status: 400,
    code: 'header_repeated',
    message: 'The Kwyre-Session header was sent more than once.',
  },
  sessionNotFound: { status: 404, code: 'session_not_found', message: sessionNotFoundMessage },
  expectationFailed: {
    status: 417,
    code: 'expectation_failed',
    message: 'The Expect header may only contain 100-continue.',
  },
  // Errors about the state of the server.
  intakeClosed: {
    status: 503,
    code: 'intake_closed',
    message:
      'New conversations are refused: a tool that can inspect this server is running, the machine was suspended a ' +
      'moment ago, or the server is still starting. ./kwyre status names the cause.',
    retryAfterSeconds: 5,
  },
  starting: {
    status: 503,
    code: 'server_starting',
    message: 'The server is starting. Try again in a moment.',
    retryAfterSeconds: 1,
  },
  stopping: { status: 503, code: 'server_stopping', message: 'The server is stopping.' },
  busy: { status: 503, code: 'server_busy', message: 'Too many requests are open. Try again.', retryAfterSeconds: 1 },
  paused: {
    status: 503,
    code: 'machine_paused',
    message:
      'The machine was suspended while this request was being answered, so the response was cancelled. Send it again.',
    retryAfterSeconds: 5,
  },
  engineLost: {
    status: 503,
    code: 'engine_restarting',
    message: 'The engine exited while working on this request and is restarting. Send it again.',
    retryAfterSeconds: 2,
  },
  engineFailed: { status: 500, code: 'engine_error', message: 'The engine could not finish this request.' },
  statusUnavailable: { status: 503, code: 'status_unavailable', message: 'The supervisor did not respond in time.' },
} as const satisfies Record<string, Fault>;
