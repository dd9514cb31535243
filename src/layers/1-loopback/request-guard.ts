/**
 * Whether a request may be looked at at all, before any route is: pure functions over what the client sent.
 *
 * Promise: only a browser page of ours or a program of this machine that names us as 127.0.0.1 or localhost with the
 *          bound port passes; every route, present and future, is behind it. Forwarding headers are never read.
 * Limits:  it says nothing about who asks; that is token.ts.
 * Source:  Fetch Metadata Request Headers (W3C), RFC 9112
 * Proof:   test/unit/layers/1-request-guard.test.ts, test/attacks/1-host.test.ts, test/attacks/1-browser.test.ts
 * @module
 */

/** What a client sent, as it stood on the wire. */
export type Received = {
  readonly method: string;
  readonly target: string;
  /** Names and values in turn, duplicates included (`IncomingMessage.rawHeaders`). */
  readonly rawHeaders: readonly string[];
  /** Whether it came through the Unix socket, which no browser reaches. */
  readonly unix: boolean;
};

/** Why a request is refused; message and code are constants. */
export type Refusal = { readonly status: number; readonly code: string; readonly message: string };

/** More headers than any client of ours sends. */
export const maxHeaders = 64;

const loopback = '127.0.0.1';

/** Both ends of an accepted connection, as the kernel has them: false closes it without a byte. */
export function isLocalConnection(localAddress: string | undefined, remoteAddress: string | undefined): boolean {
  return localAddress === loopback && remoteAddress === loopback;
}

/** Every value of a header, by its lower-case name. */
export function headerValues(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === name) values.push(rawHeaders[i + 1] ?? '');
  return values;
}

/** The `Host` values that mean us: exactly these, compared in lower case. */
export function allowedHosts(port: number, unix: boolean): ReadonlySet<string> {
  const hosts = [`${loopback}:${port}`, `localhost:${port}`];
  // A client leaves the port out where it is the scheme's own (80), and has none to name on a Unix socket.
  if (port === 80 || unix) hosts.push(loopback, 'localhost');
  return new Set(hosts);
}

/** Headers whose meaning changes when they come twice. */
const single = [
  'host',
  'content-length',
  'content-type',
  'content-encoding',
  'transfer-encoding',
  'authorization',
  'x-api-key',
  'origin',
  'sec-fetch-site',
  'expect',
];

const refuse = (status: number, code: string, message: string): Refusal => ({ status, code, message });

/** The refusal of a request, or `undefined` when it may go on to the token check. */
export function refusalOf(received: Received, port: number): Refusal | undefined {
  const { rawHeaders, method, target } = received;
  if (rawHeaders.length > 2 * maxHeaders) return refuse(431, 'too_many_headers', `More than ${maxHeaders} headers.`);
  return (
    refusalOfHost(received, port) ??
    refusalOfTarget(method, target) ??
    refusalOfDuplicates(rawHeaders) ??
    refusalOfOrigin(rawHeaders) ??
    refusalOfProtocol(method, rawHeaders)
  );
}

function refusalOfHost(received: Received, port: number): Refusal | undefined {
  const hosts = headerValues(received.rawHeaders, 'host');
  const [host] = hosts;
  if (host === undefined) return refuse(400, 'host_missing', 'The Host header is missing.');
  if (hosts.length > 1) return refuse(400, 'host_repeated', 'The Host header came more than once.');
  if (!allowedHosts(port, received.unix).has(host.toLowerCase()))
    return refuse(403, 'host_not_allowed', 'This server answers to 127.0.0.1 and localhost with its port only.');
  return undefined;
}

function refusalOfTarget(method: string, target: string): Refusal | undefined {
  // Origin form only: a path, printable ASCII, no fragment. `//x` would be read as an authority by others.
  if (!/^\/(?!\/)[\x21\x22\x24-\x7e]*$/.test(target))
    return refuse(400, 'target_not_allowed', 'The request target must be a path.');
  if (method === 'OPTIONS') return refuse(405, 'method_not_allowed', 'Requests from other origins are not served.');
  return undefined;
}

function refusalOfDuplicates(rawHeaders: readonly string[]): Refusal | undefined {
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase() ?? '';
    if (!single.includes(name)) continue;
    if (seen.has(name)) return refuse(400, 'header_repeated', 'A header that must be single came more than once.');
    seen.add(name);
  }
  return undefined;
}

function refusalOfOrigin(rawHeaders: readonly string[]): Refusal | undefined {
  const [origin] = headerValues(rawHeaders, 'origin');
  const [host = ''] = headerValues(rawHeaders, 'host');
  // Our own page is served from the host that the request names, so nothing else can be its origin; `null` is a
  // stranger.
  if (origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`)
    return refuse(403, 'origin_not_allowed', 'Requests from other origins are not served.');
  const [site] = headerValues(rawHeaders, 'sec-fetch-site');
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return refuse(403, 'origin_not_allowed', 'Requests from other origins are not served.');
  return undefined;
}

function refusalOfProtocol(method: string, rawHeaders: readonly string[]): Refusal | undefined {
  const has = (name: string) => headerValues(rawHeaders, name).length > 0;
  const upgrades = headerValues(rawHeaders, 'connection').some((value) =>
    value
      .toLowerCase()
      .split(',')
      .some((word) => word.trim() === 'upgrade'),
  );
  if (has('upgrade') || upgrades || has('sec-websocket-key'))
    return refuse(400, 'upgrade_not_allowed', 'This server speaks plain HTTP only.');
  if (has('content-encoding')) return refuse(415, 'encoding_not_allowed', 'Compressed bodies are not accepted.');
  if (
    method !== 'POST' &&
    (has('transfer-encoding') || headerValues(rawHeaders, 'content-length').some((value) => value !== '0'))
  ) {
    return refuse(400, 'body_not_allowed', 'This method takes no body.');
  }
  return undefined;
}

/** Declared length of a JSON body, or why it is not taken; asked after the token check, before a byte is read. */
export function bodyLengthOf(rawHeaders: readonly string[], maxBytes: number): number | Refusal {
  const [type = ''] = headerValues(rawHeaders, 'content-type');
  if (!/^application\/json[ \t]*(;[ \t]*charset="?utf-8"?[ \t]*)?$/i.test(type))
    return refuse(415, 'content_type_not_allowed', 'The body must be application/json.');
  if (headerValues(rawHeaders, 'transfer-encoding').length > 0)
    return refuse(411, 'length_required', 'The body needs a Content-Length.');
  const [length] = headerValues(rawHeaders, 'content-length');
  if (length === undefined) return refuse(411, 'length_required', 'The body needs a Content-Length.');
  if (!/^\d{1,15}$/.test(length)) return refuse(400, 'length_invalid', 'The Content-Length is not a number.');
  return Number(length) > maxBytes
    ? refuse(413, 'body_too_large', `The body may have at most ${maxBytes} bytes.`)
    : Number(length);
}
