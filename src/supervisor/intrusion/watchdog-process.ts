/**
 * Starts the watchdog process, emits its reports as events, and tracks how long it has been silent.
 *
 * Trust: the watchdog is jailed, and it reads text that other users wrote. The format of its reports is checked here,
 *        and `reported-finding.ts` replaces the text in them.
 * Proof: test/attacks/6-watchdog.test.ts, test/attacks/6-hostile.test.ts
 * @module
 */
import type { JailInput } from '../../layers/2-isolation/jail/confine.ts';
import { EventEmitter } from 'node:events';
import { KwyreError } from '../../base/errors.ts';
import type { Enforcement } from '../../base/verdict.ts';
import { slackMs } from '../../layers/6-intrusion/detectors/lost-time.ts';
import type { Detection } from '../../layers/6-intrusion/finding.ts';
import type { Clocks, Watched } from '../../layers/6-intrusion/scan-result.ts';
import { runnableOf } from '../../linux/clocks.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { makeDiagSocket } from '../../linux/sockets/sock-diag.ts';
import { makeSocketPair } from '../../linux/sockets/socket.ts';
import type { DispatchTable } from '../../wire/channel.ts';
import { controlSchemas, encodeJson, parseJson } from '../../wire/control-payloads.ts';
import { controlMessages } from '../../wire/messages.ts';
import type { Ending, LoadDescriptors } from '../roles/role-process.ts';
import { RoleProcess } from '../roles/role-process.ts';

/** The longest time without a report, in milliseconds: two scans at the longest interval. */
const maxSilenceMs = 10_000;
/** The longest time until the first scan. A slow start on a busy machine is not an intrusion. */
export const maxStartMs = 120_000;
/** The longest time without a report from a watchdog that has no CPU time. */
const maxStarvedMs = 60_000;

/** One scan. */
export type ScanReport = {
  /** Number of the watch order for which the scan was made. */
  readonly epoch: number;
  /** When the scan began: milliseconds of CLOCK_MONOTONIC. */
  readonly at: number;
  /** Duration of the scan in milliseconds. */
  readonly scanMs: number;
  readonly detections: readonly Detection[];
};

type WatchdogEvents = {
  scanned: [ScanReport];
  /** The watchdog's event loop was late by `ms` milliseconds. */
  late: [ms: number];
  /** The watchdog reported why it cannot start, or exited before the first scan without a report. */
  failed: [KwyreError];
  /** The watchdog breached the protocol of its control edge. */
  breach: [KwyreError];
  ended: [Ending];
};

/** Options for starting the watchdog. */
export type WatchdogOptions = {
  readonly jail: JailInput;
  readonly uid: number;
  readonly intervalMs: number;
  /** Descriptors of the code it may load; absent in tests, where it loads modules from their files. */
  readonly loads?: LoadDescriptors;
};

/**
 * Returns the socket through which the watchdog queries the kernel about Unix sockets. If a service manager forbids
 * creating it, returns an empty array; in that case there is no Unix listener either.
 */
function diagSocket(): number[] {
  try {
    return [makeDiagSocket()];
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    return [];
  }
}

export class WatchdogProcess extends EventEmitter<WatchdogEvents> {
  /** Settles when the watchdog is ready or has exited. */
  readonly settled: Promise<undefined>;
  readonly #settled = Promise.withResolvers<undefined>();
  readonly #child: RoleProcess;
  #enforced: readonly Enforcement[] = [];
  #isReady = false;
  /** The clocks at the watchdog's last report. */
  #lastReport: Clocks;
  #runnableThen = 0;
  readonly #clocks: () => Clocks;

  constructor({ jail, uid, intervalMs, loads }: WatchdogOptions, clocks: () => Clocks) {
    super();
    this.#clocks = clocks;
    this.#lastReport = clocks();
    this.settled = this.#settled.promise;
    const control = makeSocketPair();
    this.#child = new RoleProcess({
      role: 'watchdog',
      jail,
      fds: [control[1], ...diagSocket()],
      controlFd: control[0],
      table: this.#table(),
      onBreach: (error) => this.emit('breach', error),
      ...(loads === undefined ? {} : { loads }),
    });
    this.#child.control.send(controlMessages.configure, encodeJson({ intervalMs, ownUid: uid }));
    void this.#child.drained.then(({ code, signal }) => {
      const output = this.#child.startOutput.trim();
      this.emit(
        'failed',
        new KwyreError(
          'L6_WATCHDOG_FAILED',
          `the watchdog ended while starting (${signal ?? `exit ${code ?? 1}`})${output === '' ? '' : `: ${output}`}`,
        ),
      );
    });
    void this.#child.ended.then((ending) => {
      this.#settled.resolve(undefined);
      this.#child.release();
      this.emit('ended', ending);
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Inodes of the sockets that the process had when it started. */
  get sockets(): readonly number[] {
    return this.#child.sockets;
  }

  /** The enforcement that its jail and final filter reported. */
  get enforced(): readonly Enforcement[] {
    return this.#enforced;
  }

  /** Whether it has been confined and is ready. An exit before that is a failed start, not the loss of a watchdog. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Settles when the process has ended. */
  get ended(): Promise<Ending> {
    return this.#child.ended;
  }

  /** Sends the watchdog a new list of the server's processes. Scans made for that list have the number `epoch`. */
  watch(epoch: number, watched: Watched): void {
    this.#child.control.send(controlMessages.watch, encodeJson({ epoch, ...watched }));
  }

  kill(): void {
    this.#child.kill();
  }

  /** Returns whether the first scan is overdue. */
  isStartOverdue(now: Clocks): boolean {
    return now.monotonic - this.#lastReport.monotonic > maxStartMs;
  }

  /** Returns whether it has been silent for too long. A lack of CPU time excuses silence; being stopped does not. */
  isSilent(now: Clocks): boolean {
    const silentMs = now.monotonic - this.#lastReport.monotonic;
    if (silentMs <= maxSilenceMs) return false;
    const heldUpMs = runnableOf(this.pid) - this.#runnableThen;
    return !(silentMs <= maxStarvedMs && silentMs - heldUpMs <= slackMs);
  }

  #heard(): void {
    this.#lastReport = this.#clocks();
    this.#runnableThen = runnableOf(this.pid);
  }

  #table(): DispatchTable {
    return {
      [controlMessages.enforced]: {
        permit: 'start',
        handle: (frame) => {
          this.#enforced = parseJson(controlSchemas.enforced, frame.payload).enforced;
        },
      },
      [controlMessages.failed]: {
        permit: 'start',
        handle: (frame) => {
          const { code, message, remedy } = parseJson(controlSchemas.failed, frame.payload);
          this.emit('failed', new KwyreError(code, message, remedy));
        },
      },
      [controlMessages.ready]: {
        permit: 'start',
        handle: (frame) => {
          this.#enforced = [...this.#enforced, ...parseJson(controlSchemas.readyWatchdog, frame.payload).enforced];
          this.#isReady = true;
          this.#child.endStart();
          this.#heard();
          this.#settled.resolve(undefined);
        },
      },
      [controlMessages.beat]: {
        permit: 'always',
        handle: (frame) => {
          this.#heard();
          this.emit('late', parseJson(controlSchemas.beat, frame.payload).lateMs);
        },
      },
      [controlMessages.pong]: { permit: 'always', handle: () => undefined },
      [controlMessages.scanned]: {
        permit: 'always',
        handle: (frame) => {
          this.#heard();
          this.emit('scanned', parseJson(controlSchemas.scanned, frame.payload));
        },
      },
    };
  }
}
