/**
 * Payloads on the control edge: JSON that is checked against a schema, and the engine's binary pong.
 *
 * Trust: a payload comes from a jailed process and may be hostile. Extra keys are refused and strings are bounded.
 *        `covert-channels.ts` limits what a serving process can send.
 * Proof: test/unit/wire/covert-channels.test.ts, test/unit/supervisor/engine-pulse.test.ts
 * @module
 */
import { detectorIds, relations, visibilities } from '../base/detection.ts';
import { KwyreError } from '../base/errors.ts';
import type { Infer } from './schema.ts';
import { array, boolean, literals, number, object, optional, string, text, whole } from './schema.ts';

/** The engine's reply to a ping: milliseconds until its next session expires, or `undefined` if it has no sessions. */
export type EnginePong = { readonly dueMs: number | undefined };

const nothingDue = 0xffff_ffff;

export function encodeEnginePong({ dueMs }: EnginePong): Buffer {
  const payload = Buffer.allocUnsafeSlow(4);
  payload.writeUInt32LE(dueMs === undefined ? nothingDue : Math.min(nothingDue - 1, Math.max(0, Math.ceil(dueMs))));
  return payload;
}

/** @throws `WIRE_MESSAGE_SHAPE` if the payload is not one u32. */
export function parseEnginePong(payload: Buffer): EnginePong {
  if (payload.length !== 4) throw new KwyreError('WIRE_MESSAGE_SHAPE', 'malformed pong from the engine');
  const dueMs = payload.readUInt32LE(0);
  return { dueMs: dueMs === nothingDue ? undefined : dueMs };
}

/** Maximum number of findings that one detector may report in one message. */
export const maxFindings = 12;

/** The highest process id and the highest user id on Linux. */
const maxPid = 1 << 22;
const maxUid = 2 ** 32 - 1;

const enforcement = object({
  feature: text(64),
  need: literals('required', 'preferred'),
  requested: text(256),
  observed: text(256),
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

const detector = literals(...detectorIds);

const detection = object({
  detector,
  seen: literals(...visibilities),
  reason: text(160),
  findings: array(
    object({
      detector,
      relation: literals(...relations),
      pid: whole(0, maxPid),
      uid: whole(-1, maxUid),
      name: text(64),
      what: text(160),
      tool: optional(text(32)),
    }),
    maxFindings,
  ),
});

/** A token's SHA-256 digest (hex) and its holder's id (16 bytes, hex). `operator` marks the operator's own token. */
const tokenDigest = object({ digest: string(64), principal: string(32), operator: optional(boolean()) });

/** What happens to a session's KV cache between turns. */
const kvPostures = literals('sealed', 'drop', 'keep');

/** The schemas of control payloads, by message name. */
export const controlSchemas = {
  tokens: object({ tokens: array(tokenDigest, 1024) }),
  configureGateway: object({
    port: number(0, 65535),
    tokens: array(tokenDigest, 1024),
    bodyBytes: number(1024, 1 << 30),
    pageDirectory: string(4096),
    /** Whether the gateway accepts new conversations. */
    open: boolean(),
    /** Whether the token is written and the engine is running. */
    ready: boolean(),
  }),
  configureEngine: object({
    modelName: string(128),
    /** Total size of all weight files. */
    modelBytes: number(0),
    modelFiles: number(1, 255),
    createdSeconds: number(0),
    contextTokens: number(0, 1 << 24),
    parallel: number(1, 256),
    /** 0 lets the engine choose by core count and model size. */
    threads: number(0, 256),
    /** Time limit for one generation. */
    turnSeconds: number(1, 86_400),
    kv: kvPostures,
    /** A session that has been idle for this long is wiped. */
    idleSeconds: number(1, 3600),
    /** Like `idleSeconds`, for clients that resend their history; 0 wipes the session when its request ends. */
    continueSeconds: number(0, 3600),
    /** Limit on the sealed bytes of all sessions together; 0 means a share of free memory. */
    sealedBytes: number(0),
  }),
  enforced: object({ enforced: array(enforcement, 64) }),
  /** `closedRoutes`: number of routes that refused both a request without a token and one with an unknown token. */
  readyGateway: object({ pid: whole(1, maxPid), enforced: array(enforcement, 64), closedRoutes: number(0, 1024) }),
  readyWatchdog: object({ pid: whole(1, maxPid), enforced: array(enforcement, 64) }),
  readyEngine: object({
    pid: whole(1, maxPid),
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
      /** Number of bytes of the working set in use, and number of those locked in memory. */
      workingBytes: number(0),
      workingLockedBytes: number(0),
      kv: kvPostures,
      idleSeconds: number(1, 3600),
      continueSeconds: number(0, 3600),
      sealedBytes: number(0),
      /** Maximum number of sessions. */
      sessions: number(0),
      /** The self-tests that passed before the first request. */
      tried: object({ sealing: boolean(), idle: boolean() }),
    }),
  }),
  configureWatchdog: object({ intervalMs: number(250, 5000), ownUid: number(0) }),
  /** `epoch` numbers the lists of targets, so that a scan of an outdated list can be recognised. */
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
  /** `at`: when the supervisor sent the ping (CLOCK_MONOTONIC, milliseconds). */
  ping: object({ at: whole(0, 2 ** 40) }),
  late: object({ ms: whole(0, 2 ** 40), cut: boolean() }),
  beat: object({ lateMs: whole(0, 2 ** 40) }),
  /** `at`: when the scan began (CLOCK_MONOTONIC, milliseconds). */
  scanned: object({
    epoch: whole(0, 1 << 30),
    sequence: whole(0, 2 ** 40),
    at: whole(0, 2 ** 40),
    scanMs: whole(0, 1 << 24),
    detections: array(detection, 16),
  }),
  intake: object({ open: boolean(), ready: boolean() }),
  failed: object({ code: text(64), message: text(4096), remedy: text(1024) }),
  /** The only event that a serving gateway may log. */
  event: object({ code: literals('L1_TOKEN_WRONG'), count: whole(1, 1 << 30) }),
};

export type TokenDigest = Infer<typeof controlSchemas.tokens>['tokens'][number];
export type GatewayConfig = Infer<typeof controlSchemas.configureGateway>;
export type EngineConfig = Infer<typeof controlSchemas.configureEngine>;
export type KvPosture = Infer<typeof kvPostures>;
export type EngineFacts = Infer<typeof controlSchemas.readyEngine>;
export type WatchList = Infer<typeof controlSchemas.watch>;

/** Encodes a control payload. */
export function encodeJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value), 'utf8');
}

/**
 * Parses a control payload and checks it against its schema.
 * @throws `WIRE_MESSAGE_SHAPE` if the payload is not JSON or does not match the schema
 */
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
