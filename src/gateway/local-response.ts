/**
 * Responses that the gateway sends itself. They have fixed headers, use OpenAI's error format and never echo the
 * request.
 *
 * Proof: test/attacks/1-browser.test.ts, test/attacks/1-limits.test.ts
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { wipeBytes } from '../base/bytes.ts';
import type { Fault } from './faults.ts';

/** The content security policy of every response except the status page: it may not load or run anything. */
const closedPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/** Headers of every response. There are no `Access-Control-*` headers, so no other origin may read a response. */
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

/** Returns an error as JSON that consists only of constants. */
export function errorBody(fault: Fault): Buffer {
  const type = errorTypes[fault.status] ?? (fault.status >= 500 ? 'server_error' : 'invalid_request_error');
  return Buffer.from(JSON.stringify({ error: { message: fault.message, type, param: null, code: fault.code } }));
}

/** Sends a complete response. @param more - additional headers, which override the fixed headers */
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

/** Limits on reading a refused body. It is read so that the client gets the response before the connection closes. */
export const lingerLimits = { bytes: 1 << 20, ms: 1000 } as const;

/**
 * Refuses a request. Its body is overwritten and discarded; reading a long body stops at the limits.
 * @param close - whether to close the connection too, as after anything that no legitimate client sends
 */
export function sendFault(request: IncomingMessage, response: ServerResponse, fault: Fault, close: boolean): void {
  const body = errorBody(fault);
  const declared =
    request.headers['transfer-encoding'] !== undefined
      ? Number.POSITIVE_INFINITY
      : Number(request.headers['content-length'] ?? 0);
  const closes = close || !(declared <= lingerLimits.bytes);
  response.writeHead(fault.status, {
    ...fixedHeaders,
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    ...(fault.status === 401 ? { 'WWW-Authenticate': 'Bearer' } : {}),
    ...(fault.status === 405 ? { Allow: 'GET, HEAD, POST, DELETE' } : {}),
    ...(fault.retryAfterSeconds === undefined ? {} : { 'Retry-After': String(fault.retryAfterSeconds) }),
    ...(closes ? { Connection: 'close' } : {}),
  });
  if (declared === 0 || request.headers.expect !== undefined || request.complete) {
    request.on('data', wipeBytes);
    response.end(body);
    return;
  }
  // Closing with unread bytes would reset the connection, and the client would lose the response.
  response.write(body);
  let discarded = 0;
  const finish = () => {
    clearTimeout(timer);
    // Do not wait for the rest of the body.
    if (request.complete || response.writableEnded) response.end();
    else {
      response.end(() => {
        request.socket.destroySoon();
      });
    }
  };
  const timer = setTimeout(finish, lingerLimits.ms);
  request.on('data', (chunk: Buffer) => {
    discarded += chunk.length;
    wipeBytes(chunk);
    if (discarded > lingerLimits.bytes) finish();
  });
  request.once('end', finish);
  response.once('close', finish);
}
