/**
 * The covert channel budget: every way by which something that a jailed process chose gets onto the disk, a terminal or
 * into the kernel's log while conversations are there, with the most bits that it carries in an hour.
 *
 * Messages of the start carry nothing of a conversation: the gateway is told to listen only when the engine has said
 * that it is ready, so no byte of a client has reached anybody by then, and later such a message is a breach.
 *
 * Limits:  what a process shows to other programs of the machine while it lives (its title, its times, the size of its
 *          memory) and what the gateway answers its clients have no bound here: see THREAT-MODEL.
 * Proof:   test/unit/wire/covert-channels.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import type { Shape } from './schema.ts';
import { controlSchemas } from './control-payloads.ts';

/** A message of a jailed process to the supervisor; without a payload that is read when `shape` is missing. */
export type Report = {
  readonly from: readonly ('gateway' | 'engine' | 'watchdog')[];
  readonly phase: 'start' | 'serving';
  readonly shape?: Shape;
};

/** Everything that the supervisor takes from a jailed process, by the name in `controlMessages`. */
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

/** The most lines in an hour that each kind may cause in the log, and on the terminal with it; the rest is counted. */
export const linesPerHour = { wrongTokens: 6, seen: 12, levels: 12, crashes: 4 } as const;

/** One way out. */
export type Exposure = {
  readonly way: string;
  readonly reaches: string;
  /** Fields of serving messages that get there, or get nowhere. */
  readonly fields: readonly string[];
  readonly bitsPerHour: number;
  readonly why: string;
};

/** A moment in an hour, told in whole seconds. */
const momentBits = Math.log2(3600);
const pidBits = 22;
const detectorBits = Math.log2(13);
/** A count as the log tells it: a power of two up to 2^20. */
const countBits = Math.log2(21);
const bits = (lines: number, each: number): number => Math.ceil(lines * (each + momentBits));

export const exposures: readonly Exposure[] = [
  {
    way: 'wrong tokens that the gateway counts',
    reaches: 'log',
    fields: ['event.code', 'event.count'],
    bitsPerHour: bits(linesPerHour.wrongTokens, countBits),
    why: 'one literal; the count is rounded up to a power of two, and what comes more often is added to the next line',
  },
  {
    way: 'what the watchdog saw',
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
    why: 'a process by its id: the supervisor looks up its name and user itself, and takes words from a list',
  },
  {
    way: 'levels of layer 6',
    reaches: 'log, terminal',
    fields: [],
    bitsPerHour: bits(linesPerHour.levels, 2),
    why: 'one of four words',
  },
  {
    way: 'the end of a role',
    reaches: 'log, terminal',
    fields: [],
    bitsPerHour: bits(linesPerHour.crashes, 1 + Math.log2(40)),
    why: 'which role, a signal or one of six exit codes; three restarts in an hour',
  },
  {
    way: 'bytes of a working set',
    reaches: 'log',
    fields: [],
    bitsPerHour: linesPerHour.crashes * 26,
    why: 'pages of memory, once for each engine that ended',
  },
  {
    way: 'nothing outside of the supervisor',
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
    why: 'shown to who asks for the status, never written',
  },
];

/** Paths of every value in a shape, with its kind. */
export function leavesOf(shape: Shape, at: string): readonly { readonly path: string; readonly shape: Shape }[] {
  if (shape.kind === 'object')
    return Object.entries(shape.fields).flatMap(([key, field]) => leavesOf(field, `${at}.${key}`));
  return shape.kind === 'array' ? leavesOf(shape.item, `${at}[]`) : [{ path: at, shape }];
}
