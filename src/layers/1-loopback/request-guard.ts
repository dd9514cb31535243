/**
 * Checks every request before routing and authentication. Pure functions of the client's request.
 *
 * Promise: a request passes only if its Host is 127.0.0.1 or localhost with the bound port and, if it comes from a
 *          browser, its origin is this server. Every route is behind these checks. Forwarding headers are never read.
 * Limits:  authentication is separate, in bearer-token.ts.
 * Source:  Fetch Metadata Request Headers (W3C), RFC 9112
 * Proof:   test/unit/layers/1-request-guard.test.ts, test/attacks/1-host.test.ts, test/attacks/1-browser.test.ts
 * @module
 */

/** A request as it arrived. */
export type Received = {
  readonly method: string;
  readonly target: string;
  /** Alternating names and values, duplicates included (`IncomingMessage.rawHeaders`). */
  readonly rawHeaders: readonly string[];
  /** Whether it arrived on the Unix socket, which browsers cannot reach. */
  readonly unix: boolean;
};

/** A refusal; `message` and `code` are constants. */
type Refusal = { readonly status: number; readonly code: string; readonly message: string };

/** Maximum number of headers in a request; known clients send far fewer. @internal */
export const maxHeaders = 64;

const loopback = '127.0.0.1';

/** Returns whether both ends of a connection are 127.0.0.1; if not, the caller closes it without a response. */
export function isLocalConnection(localAddress: string | undefined, remoteAddress: string | undefined): boolean {
  return localAddress === loopback && remoteAddress === loopback;
}

/**
 * Returns every value of a header.
 * @param name - in lower case
 */
export function headerValues(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === name) values.push(rawHeaders[i + 1] ?? '');
  return values;
}

/** Returns the accepted `Host` values, in lower case. @internal */
export function allowedHosts(port: number, unix: boolean): ReadonlySet<string> {
  const hosts = [`${loopback}:${port}`, `localhost:${port}`];
  // Clients omit the default port 80, and a Unix socket has no port.
  if (port === 80 || unix) hosts.push(loopback, 'localhost');
  return new Set(hosts);
}

/** Headers that are ambiguous when repeated. */
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

/** Returns the refusal, or `undefined` if the request may go on to authentication. */
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
  if (hosts.length > 1) return refuse(400, 'host_repeated', 'The Host header is repeated.');
  if (!allowedHosts(port, received.unix).has(host.toLowerCase()))
    return refuse(
      403,
      'host_not_allowed',
      'The Host header must be 127.0.0.1 or localhost, with the port of this server.',
    );
  return undefined;
}

function refusalOfTarget(method: string, target: string): Refusal | undefined {
  // Origin form: a path in printable ASCII without a fragment. Some parsers read `//x` as an authority.
  if (!/^\/(?!\/)[\x21\x22\x24-\x7e]*$/.test(target))
    return refuse(400, 'target_not_allowed', 'The request target must be a path.');
  if (method === 'OPTIONS') return refuse(405, 'method_not_allowed', 'Cross-origin requests are not allowed.');
  return undefined;
}

function refusalOfDuplicates(rawHeaders: readonly string[]): Refusal | undefined {
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase() ?? '';
    if (!single.includes(name)) continue;
    if (seen.has(name)) return refuse(400, 'header_repeated', 'A header that must be unique is repeated.');
    seen.add(name);
  }
  return undefined;
}

function refusalOfOrigin(rawHeaders: readonly string[]): Refusal | undefined {
  const [origin] = headerValues(rawHeaders, 'origin');
  const [host = ''] = headerValues(rawHeaders, 'host');
  // The origin of the status page is the Host of its own requests; `null` is a foreign origin.
  if (origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`)
    return refuse(403, 'origin_not_allowed', 'Cross-origin requests are not allowed.');
  const [site] = headerValues(rawHeaders, 'sec-fetch-site');
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return refuse(403, 'origin_not_allowed', 'Cross-origin requests are not allowed.');
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
    return refuse(400, 'upgrade_not_allowed', 'Protocol upgrades are not supported.');
  if (has('content-encoding')) return refuse(415, 'encoding_not_allowed', 'Compressed bodies are not supported.');
  if (
    method !== 'POST' &&
    (has('transfer-encoding') || headerValues(rawHeaders, 'content-length').some((value) => value !== '0'))
  ) {
    return refuse(400, 'body_not_allowed', 'This method takes no body.');
  }
  return undefined;
}

/** Returns the declared length of a JSON body, or a refusal; called after authentication, before reading the body. */
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
