/**
 * Every message on every edge between our processes. Requests are even, answers and reports odd.
 *
 * data edge     gateway -> engine: request.*, response.credit; engine -> gateway: response.*
 * control edge  supervisor -> child: orders; child -> supervisor: reports (JSON payloads, checked by `schema.ts`)
 *
 * Trust: request bodies travel as opaque bytes; no control message may carry text of a conversation.
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import type { Infer } from './schema.ts';
import { array, boolean, literals, number, object, optional, string, text, whole } from './schema.ts';

/** Descriptors that the jail stage keeps open across `execve`, the same in every run. */
export const descriptors = {
  control: 3,
  data: 4,
  /** Watchdog: the socket by which it asks about Unix sockets. */
  diag: 4,
  /** Gateway: the listening socket. */
  listener: 5,
  /** Engine: the model file, read-only. */
  model: 5,
  /** Gateway: the optional Unix listener. */
  unixListener: 6,
  /** Engine: the working set, shared with the supervisor. */
  working: 6,
  /** Engine: the first of the further files of a model in parts. */
  parts: 32,
  /** Engine: secret memory, made by its jail stage. */
  secret: 200,
} as const;

export const dataMessages = {
  requestOpen: 2,
  requestBody: 4,
  requestEnd: 6,
  requestAbort: 8,
  responseCredit: 10,
  responseHead: 1,
  responseBody: 3,
  responseEnd: 5,
  /** The engine cannot finish what it began; the gateway closes the connection. */
  responseAbort: 7,
} as const;

export const controlMessages = {
  configure: 0x40,
  ping: 0x42,
  stop: 0x44,
  tokensSet: 0x46,
  statusAnswer: 0x48,
  /** Gateway: whether new conversations are taken and the engine answers; after what the configuration said. */
  intake: 0x4a,
  /** Gateway, engine: the machine stood still; running turns are cut. */
  pause: 0x4c,
  /** Watchdog: which processes are ours from now on. */
  watch: 0x50,
  enforced: 0x41,
  pong: 0x43,
  ready: 0x45,
  failed: 0x47,
  statusRequest: 0x49,
  event: 0x4b,
  /** Gateway: every request in flight has been answered after the data edge closed. */
  drained: 0x4d,
  /** Gateway, engine: stood still for so long. */
  late: 0x4f,
  /** Watchdog: what one scan saw. */
  scanned: 0x51,
  /** Watchdog: still there, and how late this is. */
  beat: 0x53,
} as const;

/** Routes that the gateway forwards to the engine, by the number on the wire. */
export const engineRoutes = {
  chatCompletions: 1,
  modelsList: 2,
  modelGet: 3,
  conversationCreate: 4,
  conversationGet: 5,
  conversationDelete: 6,
  itemsList: 7,
  itemsAppend: 8,
  sessionsList: 9,
  sessionGet: 10,
  sessionDelete: 11,
  sessionsDelete: 12,
  responseCreate: 13,
  responseGet: 14,
  responseDelete: 15,
} as const;
export type EngineRoute = (typeof engineRoutes)[keyof typeof engineRoutes];

export const principalBytes = 16;
export const sessionBytes = 16;
const openHeadBytes = 4 + principalBytes + 4 + sessionBytes;
const sessionWishes = { none: 0, fresh: 1, known: 2 } as const;
const maxParameterBytes = 256;

/** The head of a request, as the gateway authenticated it. */
export type RequestOpen = {
  readonly route: EngineRoute;
  /** The token that made the request, as an opaque id of 16 bytes. */
  readonly principal: Buffer;
  /** Declared body length in bytes; the gateway enforces it. */
  readonly bodyLength: number;
  /** The variable path part (`/v1/models/{parameter}`), ASCII, empty when the route has none. */
  readonly parameter: string;
  /** The conversation that it belongs to: 32 hexadecimal digits, `new`, or empty for none. */
  readonly session: string;
  /** Whether the token is the person's own: it may see that others' conversations exist, and wipe them. */
  readonly operator: boolean;
};

const sessionShape = /^[0-9a-f]{32}$/;

export function encodeRequestOpen(open: RequestOpen): Buffer {
  const parameter = Buffer.from(open.parameter, 'latin1');
  const bytes = Buffer.allocUnsafeSlow(openHeadBytes + parameter.length).fill(0);
  bytes[0] = open.route;
  bytes[1] =
    open.session === '' ? sessionWishes.none : open.session === 'new' ? sessionWishes.fresh : sessionWishes.known;
  bytes[2] = open.operator ? 1 : 0;
  bytes.set(open.principal.subarray(0, principalBytes), 4);
  bytes.writeUInt32LE(open.bodyLength, 4 + principalBytes);
  if (sessionShape.test(open.session)) bytes.write(open.session, openHeadBytes - sessionBytes, 'hex');
  bytes.set(parameter, openHeadBytes);
  return bytes;
}

/** @throws `WIRE_MESSAGE_SHAPE` on anything that {@link encodeRequestOpen} would not write. */
export function parseRequestOpen(payload: Buffer): RequestOpen {
  const route = payload[0] as EngineRoute | undefined;
  if (
    payload.length < openHeadBytes ||
    payload.length > openHeadBytes + maxParameterBytes ||
    route === undefined ||
    !Object.values(engineRoutes).includes(route)
  ) {
    throw new KwyreError('WIRE_MESSAGE_SHAPE', 'malformed request.open');
  }
  const wish = payload[1] ?? 0;
  if (wish > sessionWishes.known || (payload[2] ?? 0) > 1 || payload[3] !== 0)
    throw new KwyreError('WIRE_MESSAGE_SHAPE', 'malformed request.open');
  return {
    route,
    principal: Buffer.from(payload.subarray(4, 4 + principalBytes)),
    bodyLength: payload.readUInt32LE(4 + principalBytes),
    parameter: payload.toString('latin1', openHeadBytes),
    session:
      wish === sessionWishes.none
        ? ''
        : wish === sessionWishes.fresh
          ? 'new'
          : payload.toString('hex', openHeadBytes - sessionBytes, openHeadBytes),
    operator: payload[2] === 1,
  };
}

/** Media types of a response, by the number on the wire. */
export const mediaTypes = { json: 1, eventStream: 2 } as const;
export type MediaType = (typeof mediaTypes)[keyof typeof mediaTypes];

/** Status and headers of a response, as the engine decided them; the gateway checks and relays. */
export type ResponseHead = {
  readonly status: number;
  readonly media: MediaType;
  readonly retryAfterSeconds: number;
  /** The conversation that the answer belongs to: 32 hexadecimal digits. */
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

/** @throws `WIRE_MESSAGE_SHAPE` when status or media type is not one of ours. */
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

/** The response bytes that the engine may have unacknowledged for one request before it stops decoding for it. */
export const initialCreditBytes = 256 * 1024;

export function encodeCredit(bytes: number): Buffer {
  const payload = Buffer.allocUnsafeSlow(4);
  payload.writeUInt32LE(bytes, 0);
  return payload;
}

/** @throws `WIRE_MESSAGE_SHAPE` when the payload is not one u32. */
export function parseCredit(payload: Buffer): number {
  if (payload.length !== 4) throw new KwyreError('WIRE_MESSAGE_SHAPE', 'malformed response.credit');
  return payload.readUInt32LE(0);
}

/** Engine's answer to a ping: milliseconds until the next conversation is due; `undefined` when it has none. */
export type Pulse = { readonly dueMs: number | undefined };

const noneDue = 0xffff_ffff;

export function encodePulse({ dueMs }: Pulse): Buffer {
  const payload = Buffer.allocUnsafeSlow(4);
  payload.writeUInt32LE(dueMs === undefined ? noneDue : Math.min(noneDue - 1, Math.max(0, Math.ceil(dueMs))));
  return payload;
}

/** @throws `WIRE_MESSAGE_SHAPE` when the payload is not one u32. */
export function parsePulse(payload: Buffer): Pulse {
  if (payload.length !== 4) throw new KwyreError('WIRE_MESSAGE_SHAPE', 'malformed pong of the engine');
  const dueMs = payload.readUInt32LE(0);
  return { dueMs: dueMs === noneDue ? undefined : dueMs };
}

/** The findings of one detector in one message; the first ones are enough to act on. */
export const maxFindings = 12;

/** The highest process id that Linux has, and the highest user id. */
const mostPid = 1 << 22;
const mostUid = 2 ** 32 - 1;

const enforcement = object({
  feature: text(64),
  need: literals('required', 'preferred'),
  asked: text(256),
  got: text(256),
  status: literals('full', 'partial', 'none'),
  reason: text(512),
});

const watchTarget = object({
  role: literals('supervisor', 'gateway', 'engine', 'watchdog'),
  pid: number(1),
  sealed: boolean(),
  namespace: literals('own', 'shared'),
  sockets: array(number(0), 4096),
  reported: optional(array(number(0), 4096)),
});

const detectors = literals(
  'tracer',
  'stopped',
  'jail',
  'inspector',
  'sockets',
  'children',
  'memory',
  'capture',
  'tools',
  'clock',
  'mappings',
  'weights',
  'heartbeat',
);
const detection = object({
  detector: detectors,
  seen: literals('full', 'self-reported', 'not-available', 'unreadable'),
  reason: text(160),
  findings: array(
    object({
      detector: detectors,
      relation: literals('effect', 'able', 'stranger'),
      pid: whole(0, mostPid),
      uid: whole(-1, mostUid),
      name: text(64),
      what: text(160),
      tool: optional(text(32)),
    }),
    maxFindings,
  ),
});

/** `operator`: the person's own token. */
const tokenDigest = object({ digest: string(64), principal: string(32), operator: optional(boolean()) });

/** What becomes of the model's memory of a conversation between its turns. */
const kvPostures = literals('sealed', 'drop', 'keep');

/** Control payloads (JSON); each schema refuses extra keys. */
export const controlSchemas = {
  /** A token's digest (SHA-256, hex) and the opaque id of its holder (16 bytes, hex). */
  tokens: object({ tokens: array(tokenDigest, 1024) }),
  configureGateway: object({
    port: number(0, 65535),
    tokens: array(tokenDigest, 1024),
    bodyBytes: number(1024, 1 << 30),
    pageDirectory: string(4096),
    /** Whether new conversations are taken from the start on. */
    open: boolean(),
    /** Whether token and engine are there. */
    ready: boolean(),
  }),
  configureEngine: object({
    modelName: string(128),
    /** All files of the weights together. */
    modelBytes: number(0),
    modelFiles: number(1, 255),
    createdSeconds: number(0),
    contextTokens: number(0, 1 << 24),
    parallel: number(1, 256),
    /** 0: the engine chooses by cores and model size. */
    threads: number(0, 256),
    /** The most seconds one generation may take. */
    turnSeconds: number(1, 86_400),
    kv: kvPostures,
    /** A conversation that nobody used for so long is wiped. */
    idleSeconds: number(1, 3600),
    /** The same for clients that send their history again; 0: a request is wiped when it ends. */
    continueSeconds: number(0, 3600),
    /** Sealed bytes of all conversations; 0: a share of the free memory. */
    sealedBytes: number(0),
  }),
  enforced: object({ enforced: array(enforcement, 64) }),
  /** `closedRoutes`: how many routes refused a request without a token, and with one that nobody has. */
  readyGateway: object({ pid: whole(1, mostPid), enforced: array(enforcement, 64), closedRoutes: number(0, 1024) }),
  readyWatchdog: object({ pid: whole(1, mostPid), enforced: array(enforcement, 64) }),
  readyEngine: object({
    pid: whole(1, mostPid),
    enforced: array(enforcement, 64),
    architecture: text(64),
    parameters: number(0),
    contextTokens: number(1),
    parallel: number(1),
    threads: number(1),
    engineVersion: text(64),
    backend: text(64),
    memory: object({
      arena: literals('secret', 'locked', 'plain'),
      reason: text(512),
      arenaBytes: number(0),
      /** Of the working set: used so far, and of it kept out of swap. */
      workingBytes: number(0),
      workingLockedBytes: number(0),
      kv: kvPostures,
      idleSeconds: number(1, 3600),
      continueSeconds: number(0, 3600),
      sealedBytes: number(0),
      /** The most conversations that it holds. */
      sessions: number(0),
      /** What came out as promised when it was tried before the first conversation. */
      tried: object({ sealing: boolean(), idle: boolean() }),
    }),
  }),
  configureWatchdog: object({ intervalMs: number(250, 5000), ownUid: number(0) }),
  /** `epoch` numbers the sets of targets, so that a scan of processes that are gone is told apart. */
  watch: object({
    epoch: number(0),
    targets: array(watchTarget, 16),
    port: number(0, 65535),
    listener: number(0),
    networks: array(number(1), 2),
    unixPath: string(4096),
    code: array(string(4096), 64),
    memory: array(string(64), 64),
  }),
  /** The supervisor's word: when it was said, by CLOCK_MONOTONIC in milliseconds. */
  ping: object({ at: whole(0, 2 ** 40) }),
  late: object({ ms: whole(0, 2 ** 40), cut: boolean() }),
  beat: object({ lateMs: whole(0, 2 ** 40) }),
  /** `at`: when the scan began, by CLOCK_MONOTONIC in milliseconds. */
  scanned: object({
    epoch: whole(0, 1 << 30),
    sequence: whole(0, 2 ** 40),
    at: whole(0, 2 ** 40),
    scanMs: whole(0, 1 << 24),
    detections: array(detection, 16),
  }),
  intake: object({ open: boolean(), ready: boolean() }),
  failed: object({ code: text(64), message: text(4096), remedy: text(1024) }),
  /** What a serving gateway counts; nothing else may be written down for it. */
  event: object({ code: literals('L1_TOKEN_WRONG'), count: whole(1, 1 << 30) }),
};

export type TokenDigest = Infer<typeof controlSchemas.tokens>['tokens'][number];
export type GatewayConfig = Infer<typeof controlSchemas.configureGateway>;
export type EngineConfig = Infer<typeof controlSchemas.configureEngine>;
export type KvPosture = Infer<typeof kvPostures>;
export type EngineFacts = Infer<typeof controlSchemas.readyEngine>;
export type WatchdogConfig = Infer<typeof controlSchemas.configureWatchdog>;
export type WatchOrder = Infer<typeof controlSchemas.watch>;
export type Scanned = Infer<typeof controlSchemas.scanned>;
export type Failure = Infer<typeof controlSchemas.failed>;

/** A control payload as bytes. */
export function encodeJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value), 'utf8');
}

/** @throws `WIRE_MESSAGE_SHAPE` when the payload is not JSON of the schema. */
export function parseJson<T>(schema: { check(value: unknown, at: string): T }, payload: Buffer): T {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch (cause) {
    throw new KwyreError(
      'WIRE_MESSAGE_SHAPE',
      `control payload is not JSON (${cause instanceof Error ? cause.name : 'error'})`,
    );
  }
  return schema.check(value, '$');
}
