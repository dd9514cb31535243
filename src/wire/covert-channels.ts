/**
 * The covert channel budget: every way in which data chosen by a jailed process reaches the disk, a terminal or the
 * kernel log while conversations exist, and the maximum number of bits that each way carries per hour.
 *
 * Startup messages carry no conversation data, because the gateway does not listen until the engine is ready, so no
 * client byte has arrived yet. After startup, such a message is a breach.
 *
 * Limits:  this does not bound what a process reveals to other programs while it runs (title, timing, memory size) or
 *          what the gateway sends to its clients; see THREAT-MODEL.
 * Proof:   test/unit/wire/covert-channels.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import { detectorIds } from '../base/detection.ts';
import type { Shape } from './schema.ts';
import { controlSchemas } from './control-payloads.ts';

/** A message from a jailed process to the supervisor. Without a `shape`, its payload is not read. */
type Report = {
  readonly from: readonly ('gateway' | 'engine' | 'watchdog')[];
  readonly phase: 'start' | 'serving';
  readonly shape?: Shape;
};

/** Every message that the supervisor accepts from a jailed process, by its name in `controlMessages`. @internal */
export const reports: Readonly<Record<string, Report>> = {
  enforced: { from: ['gateway', 'engine', 'watchdog'], phase: 'start', shape: controlSchemas.enforced.shape },
  failed: { from: ['gateway', 'engine', 'watchdog'], phase: 'start', shape: controlSchemas.failed.shape },
  readyGateway: { from: ['gateway'], phase: 'start', shape: controlSchemas.readyGateway.shape },
  readyEngine: { from: ['engine'], phase: 'start', shape: controlSchemas.readyEngine.shape },
  readyWatchdog: { from: ['watchdog'], phase: 'start', shape: controlSchemas.readyWatchdog.shape },
  pong: { from: ['gateway', 'engine', 'watchdog'], phase: 'serving' },
  statusRequest: { from: ['gateway'], phase: 'serving' },
  drained: { from: ['gateway'], phase: 'serving' },
  late: { from: ['gateway', 'engine'], phase: 'serving', shape: controlSchemas.late.shape },
  beat: { from: ['watchdog'], phase: 'serving', shape: controlSchemas.beat.shape },
  event: { from: ['gateway'], phase: 'serving', shape: controlSchemas.event.shape },
  scanned: { from: ['watchdog'], phase: 'serving', shape: controlSchemas.scanned.shape },
};

/** Limits on log and terminal lines per hour. Further lines are only counted. */
export const linesPerHour = { wrongTokens: 6, seen: 12, levels: 12, crashes: 4 } as const;

/** One channel. */
type Exposure = {
  readonly way: string;
  readonly reaches: string;
  /** The message fields whose values reach this channel while serving. */
  readonly fields: readonly string[];
  readonly bitsPerHour: number;
  readonly why: string;
};

/** Number of bits in a time within an hour, in whole seconds. */
const momentBits = Math.log2(3600);
const pidBits = 22;
const detectorBits = Math.log2(detectorIds.length);
/** Number of bits in a logged count, which is a power of two up to 2^20. */
const countBits = Math.log2(21);
const bits = (lines: number, each: number): number => Math.ceil(lines * (each + momentBits));

/** @internal */
export const exposures: readonly Exposure[] = [
  {
    way: 'failed logins counted by the gateway',
    reaches: 'log',
    fields: ['event.code', 'event.count'],
    bitsPerHour: bits(linesPerHour.wrongTokens, countBits),
    why: 'one literal; the count is rounded up to a power of two, and further ones are added to the next line',
  },
  {
    way: 'findings of the watchdog',
    reaches: 'log, terminal',
    fields: [
      'scanned.detections[].findings[].detector',
      'scanned.detections[].findings[].relation',
      'scanned.detections[].findings[].pid',
      'scanned.detections[].findings[].uid',
      'scanned.detections[].findings[].name',
      'scanned.detections[].findings[].what',
      'scanned.detections[].findings[].tool',
    ],
    bitsPerHour: bits(linesPerHour.seen, detectorBits + pidBits + Math.log2(64)),
    why: 'a process id; the supervisor looks up name and user itself, and texts come from a list',
  },
  {
    way: 'alarm levels of layer 6',
    reaches: 'log, terminal',
    fields: [],
    bitsPerHour: bits(linesPerHour.levels, 2),
    why: 'one of four words',
  },
  {
    way: 'exit of a role',
    reaches: 'log, terminal',
    fields: [],
    bitsPerHour: bits(linesPerHour.crashes, 1 + Math.log2(40)),
    why: 'the role, and a signal or one of seven exit codes; three restarts in an hour',
  },
  {
    way: 'size of a working set',
    reaches: 'log',
    fields: [],
    bitsPerHour: linesPerHour.crashes * 26,
    why: 'pages of memory, once per engine that exited',
  },
  {
    way: 'times and reasons of the watchdog',
    reaches: 'status',
    fields: [
      'scanned.epoch',
      'scanned.sequence',
      'scanned.at',
      'scanned.scanMs',
      'late.ms',
      'late.cut',
      'beat.lateMs',
      'scanned.detections[].detector',
      'scanned.detections[].seen',
      'scanned.detections[].reason',
    ],
    bitsPerHour: 0,
    why: 'shown in the status, never written',
  },
];

/** Returns every value in a shape with its path. @internal */
export function leavesOf(shape: Shape, at: string): readonly { readonly path: string; readonly shape: Shape }[] {
  if (shape.kind === 'object')
    return Object.entries(shape.fields).flatMap(([key, field]) => leavesOf(field, `${at}.${key}`));
  return shape.kind === 'array' ? leavesOf(shape.item, `${at}[]`) : [{ path: at, shape }];
}
