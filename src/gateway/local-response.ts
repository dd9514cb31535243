/**
 * Answers that the gateway gives itself: fixed headers on every one, errors in OpenAI's shape, never an echo.
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { wipeBytes } from '../base/bytes.ts';

/** A refusal or a failure as a client sees it; message and code are constants of ours. */
export type Fault = {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfterSeconds?: number;
};

/** The policy of everything that is not the status page: a document of ours can load and run nothing. */
export const closedPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/** Headers of every answer. No `Access-Control-*` header exists anywhere: no other origin may read us. */
export const fixedHeaders: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': closedPolicy,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), display-capture=(), geolocation=(), microphone=(), usb=()',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-DNS-Prefetch-Control': 'off',
  'X-Frame-Options': 'DENY',
};

const errorTypes: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
};

/** The JSON of an error, of constants only. */
export function errorBody(fault: Fault): Buffer {
  const type = errorTypes[fault.status] ?? (fault.status >= 500 ? 'server_error' : 'invalid_request_error');
  return Buffer.from(JSON.stringify({ error: { message: fault.message, type, param: null, code: fault.code } }));
}

/** Sends a whole answer. */
export function sendWhole(
  response: ServerResponse,
  status: number,
  type: string,
  body: Buffer,
  more: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { ...fixedHeaders, 'Content-Type': type, 'Content-Length': body.length, ...more });
  response.end(body);
}

/** How much of a refused body is read on, so that the client gets to read why it was refused. */
export const lingerLimits = { bytes: 1 << 20, ms: 1000 } as const;

/**
 * Refuses a request. Its body is overwritten unread; a long one is cut off.
 * @param close - whether the connection ends too: after anything that no honest client sends.
 */
export function sendFault(request: IncomingMessage, response: ServerResponse, fault: Fault, close: boolean): void {
  const body = errorBody(fault);
  const declared =
    request.headers['transfer-encoding'] !== undefined
      ? Number.POSITIVE_INFINITY
      : Number(request.headers['content-length'] ?? 0);
  const ends = close || !(declared <= lingerLimits.bytes);
  response.writeHead(fault.status, {
    ...fixedHeaders,
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    ...(fault.status === 401 ? { 'WWW-Authenticate': 'Bearer' } : {}),
    ...(fault.status === 405 ? { Allow: 'GET, HEAD, POST, DELETE' } : {}),
    ...(fault.retryAfterSeconds === undefined ? {} : { 'Retry-After': String(fault.retryAfterSeconds) }),
    ...(ends ? { Connection: 'close' } : {}),
  });
  if (declared === 0 || request.headers.expect !== undefined || request.complete) {
    request.on('data', wipeBytes);
    response.end(body);
    return;
  }
  // Closing while bytes are unread would reset the connection and take the answer with it.
  response.write(body);
  let dropped = 0;
  const finish = () => {
    clearTimeout(timer);
    // Whoever still owes a body by then is not waited for.
    if (request.complete || response.writableEnded) response.end();
    else {
      response.end(() => {
        request.socket.destroySoon();
      });
    }
  };
  const timer = setTimeout(finish, lingerLimits.ms);
  request.on('data', (chunk: Buffer) => {
    dropped += chunk.length;
    wipeBytes(chunk);
    if (dropped > lingerLimits.bytes) finish();
  });
  request.once('end', finish);
  response.once('close', finish);
}
