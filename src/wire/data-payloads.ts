/**
 * Payloads on the data edge, in fixed binary layouts: the head of a request, the head of a response, and credit.
 *
 * Promise: a payload that the corresponding encoder could not have written is refused with `WIRE_MESSAGE_SHAPE`.
 * Proof:   test/unit/wire/data-payloads.test.ts, test/unit/gateway/relay.test.ts
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import type { EngineRoute } from './messages.ts';
import { engineRoutes } from './messages.ts';

const principalBytes = 16;
const sessionBytes = 16;
const requestHeadBytes = 4 + principalBytes + 4 + sessionBytes;
const sessionKinds = { none: 0, create: 1, existing: 2 } as const;
const maxParameterBytes = 256;

/** The head of an authenticated request. */
export type RequestOpen = {
  readonly route: EngineRoute;
  /** The 16-byte id of the token's holder. */
  readonly principal: Buffer;
  /** Declared body length in bytes; the gateway enforces it. */
  readonly bodyLength: number;
  /** The variable path segment (`/v1/models/{parameter}`), ASCII; empty if the route has none. */
  readonly parameter: string;
  /** The session id (32 hexadecimal digits), `new`, or empty for none. */
  readonly session: string;
  /** Whether this is the operator's own token, which may list and wipe every session. */
  readonly operator: boolean;
};

const sessionIdPattern = /^[0-9a-f]{32}$/;

export function encodeRequestOpen(open: RequestOpen): Buffer {
  const parameter = Buffer.from(open.parameter, 'latin1');
  const bytes = Buffer.allocUnsafeSlow(requestHeadBytes + parameter.length).fill(0);
  bytes[0] = open.route;
  bytes[1] =
    open.session === '' ? sessionKinds.none : open.session === 'new' ? sessionKinds.create : sessionKinds.existing;
  bytes[2] = open.operator ? 1 : 0;
  bytes.set(open.principal.subarray(0, principalBytes), 4);
  bytes.writeUInt32LE(open.bodyLength, 4 + principalBytes);
  if (sessionIdPattern.test(open.session)) bytes.write(open.session, requestHeadBytes - sessionBytes, 'hex');
  bytes.set(parameter, requestHeadBytes);
  return bytes;
}

/** @throws `WIRE_MESSAGE_SHAPE` for a payload that {@link encodeRequestOpen} could not have written */
export function parseRequestOpen(payload: Buffer): RequestOpen {
  const route = payload[0] as EngineRoute | undefined;
  if (
    payload.length < requestHeadBytes ||
    payload.length > requestHeadBytes + maxParameterBytes ||
    route === undefined ||
    !Object.values(engineRoutes).includes(route)
  ) {
    throw new KwyreError('WIRE_MESSAGE_SHAPE', 'malformed request.open');
  }
  const sessionKind = payload[1] ?? 0;
  if (sessionKind > sessionKinds.existing || (payload[2] ?? 0) > 1 || payload[3] !== 0)
    throw new KwyreError('WIRE_MESSAGE_SHAPE', 'malformed request.open');
  return {
    route,
    principal: Buffer.from(payload.subarray(4, 4 + principalBytes)),
    bodyLength: payload.readUInt32LE(4 + principalBytes),
    parameter: payload.toString('latin1', requestHeadBytes),
    session:
      sessionKind === sessionKinds.none
        ? ''
        : sessionKind === sessionKinds.create
          ? 'new'
          : payload.toString('hex', requestHeadBytes - sessionBytes, requestHeadBytes),
    operator: payload[2] === 1,
  };
}

/** The number on the wire of each media type of a response. */
export const mediaTypes = { json: 1, eventStream: 2 } as const;
export type MediaType = (typeof mediaTypes)[keyof typeof mediaTypes];

/**
 * The message of `session_not_found`. The gateway's response to a malformed id is the same as the engine's response to
 * an unknown id or another token's id.
 */
export const sessionNotFoundMessage = 'there is no such conversation';

/** Status and headers of a response. The engine chooses them; the gateway checks and relays them. */
type ResponseHead = {
  readonly status: number;
  readonly media: MediaType;
  readonly retryAfterSeconds: number;
  /** The id of the response's session, 32 hexadecimal digits. */
  readonly session?: string | undefined;
};

const responseHeadBytes = 8 + sessionBytes;
const noSession = '0'.repeat(2 * sessionBytes);

export function encodeResponseHead(head: ResponseHead): Buffer {
  const bytes = Buffer.allocUnsafeSlow(responseHeadBytes).fill(0);
  bytes.writeUInt16LE(head.status, 0);
  bytes[2] = head.media;
  bytes.writeUInt32LE(head.retryAfterSeconds, 4);
  if (head.session !== undefined) bytes.write(head.session, 8, 'hex');
  return bytes;
}

/** @throws `WIRE_MESSAGE_SHAPE` if the length, the status or the media type is not valid. */
export function parseResponseHead(payload: Buffer): ResponseHead {
  const status = payload.length === responseHeadBytes ? payload.readUInt16LE(0) : 0;
  const media = payload[2];
  if (status < 200 || status > 599 || (media !== mediaTypes.json && media !== mediaTypes.eventStream)) {
    throw new KwyreError('WIRE_MESSAGE_SHAPE', 'malformed response.head');
  }
  const session = payload.toString('hex', 8);
  return {
    status,
    media,
    retryAfterSeconds: payload.readUInt32LE(4),
    session: session === noSession ? undefined : session,
  };
}

/** Response bytes that the engine may send for one request without credit. Beyond that, it stops decoding. */
export const initialCreditBytes = 256 * 1024;

export function encodeCredit(bytes: number): Buffer {
  const payload = Buffer.allocUnsafeSlow(4);
  payload.writeUInt32LE(bytes, 0);
  return payload;
}

/** @throws `WIRE_MESSAGE_SHAPE` if the payload is not one u32. */
export function parseCredit(payload: Buffer): number {
  if (payload.length !== 4) throw new KwyreError('WIRE_MESSAGE_SHAPE', 'malformed response.credit');
  return payload.readUInt32LE(0);
}
