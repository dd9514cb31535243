/**
 * Layer 6 in a running server: runs the watchdog, assesses its scans, and raises a violation.
 *
 * The watchdog's death, its silence and a breach of its wire are violations like a confirmed detection. A pause of the
 * whole machine is none: running turns are cut, and new requests are refused until a scan that began later is clean.
 *
 * Promise: nothing is served before the first scan, and a tool that is running refuses the start. A violation is
 *          emitted in the tick in which it is certain, before anything is logged or printed.
 * Limits:  a supervisor that is stopped itself acts when it continues; its own gap counts then.
 * Proof:   test/attacks/6-serve.test.ts, test/attacks/6-debugger.test.ts, test/attacks/6-pause.test.ts
 * @module
 */
import { EventEmitter } from 'node:events';
import { uptime } from 'node:os';
import { KwyreError } from '../../base/errors.ts';
import type { LayerReport } from '../../base/verdict.ts';
import type { Assessment, Violation } from '../../layers/6-intrusion/escalation.ts';
import { immediateViolations } from '../../layers/6-intrusion/escalation.ts';
import type { Detection, Finding } from '../../layers/6-intrusion/finding.ts';
import { describeFinding } from '../../layers/6-intrusion/finding.ts';
import type { Clocks, Target, Watched } from '../../layers/6-intrusion/scan-result.ts';
import { monotonicMs, runnableOf } from '../../linux/clocks.ts';
import { isLateness, PauseTracker, tickMs } from './pause-tracker.ts';
import { identify, verifyFindings } from './reported-finding.ts';
import type { AssessorOptions } from './scan-assessor.ts';
import { ScanAssessor } from './scan-assessor.ts';
import type { WatchedProcess } from './watch-order.ts';
import { WatchOrder } from './watch-order.ts';
import type { ScanReport, WatchdogOptions } from './watchdog-process.ts';
import { maxStartMs, WatchdogProcess } from './watchdog-process.ts';
import type { WeightsMonitor } from './weights-monitor.ts';

/** What the alarm is made from. */
type AlarmOptions = WatchdogOptions &
  AssessorOptions & {
    /** Watches the files of the model; in tests there are none. */
    readonly weights?: WeightsMonitor;
  };

/** What an alarm emits. */
type AlarmEvents = {
  /** A violation is certain: end everything. `words` describe it for the terminal. */
  violation: [violation: Violation, words: string | undefined];
  /** A finding that was not there in the scan before. */
  finding: [finding: Finding, assessment: Assessment];
  /** The level of the assessment changed. */
  level: [Assessment];
  /** The machine or the supervisor paused: cut every running turn, and refuse new requests until `resumed`. */
  paused: [];
  /**
   * A scan that began after the pause was clean. `seconds`: how long all processes paused, 0 when not all did;
   * `noticed`: whether the supervisor noticed it itself.
   */
  resumed: [seconds: number, noticed: boolean];
};

const readClocks = (): Clocks => ({ monotonic: monotonicMs(), boot: uptime() * 1000, runnable: runnableOf('self') });

export class Alarm extends EventEmitter<AlarmEvents> {
  /** Settles when a violation is certain; everything has been told to end by then. */
  readonly raised: Promise<Violation>;
  /** Settles with the first scan. @throws `L6_WATCHDOG_FAILED`, and what the watchdog reported */
  readonly firstScan: Promise<Assessment>;
  readonly #options: AlarmOptions;
  readonly #assessor: ScanAssessor;
  readonly #watchdog: WatchdogProcess;
  readonly #order: WatchOrder;
  readonly #pauses = new PauseTracker(readClocks());
  readonly #timer: NodeJS.Timeout;
  readonly #raised = Promise.withResolvers<Violation>();
  readonly #firstScan = Promise.withResolvers<Assessment>();
  #isOver = false;
  #isAdmitted = false;
  #isViolated = false;

  constructor(options: AlarmOptions) {
    super();
    this.#options = options;
    this.#assessor = new ScanAssessor(options);
    this.raised = this.#raised.promise;
    this.firstScan = this.#firstScan.promise;
    this.firstScan.catch(() => undefined);
    this.#watchdog = new WatchdogProcess(options, readClocks);
    this.#order = new WatchOrder(this.#watchdog, options.uid);
    this.#watchdog.on('scanned', (scan) => {
      this.#scanned(scan);
    });
    this.#watchdog.on('late', (ms) => {
      if (ms > tickMs) this.#pauses.reportLateness('watchdog', ms, monotonicMs());
    });
    this.#watchdog.on('failed', (error) => {
      this.#firstScan.reject(error);
      this.kill();
    });
    this.#watchdog.on('breach', (error) => {
      this.#watchdogViolated(immediateViolations.wireBreach, error.code);
    });
    this.#watchdog.on('ended', ({ signal }) => {
      // A start that failed is refused by `firstScan`; only a watchdog that was ready can be lost, or killed by the
      // kernel.
      if (this.#watchdog.isReady || signal === 'SIGSYS')
        this.#watchdogViolated(
          signal === 'SIGSYS' ? immediateViolations.kernelKill : immediateViolations.watchdogDead,
          'kwyre watchdog',
        );
      else this.#finish();
    });
    this.#timer = setInterval(() => {
      this.#tick();
    }, tickMs);
  }

  /** Whether the server passed {@link admit}: only then is anything printed. */
  get admitted(): boolean {
    return this.#isAdmitted;
  }

  /** Whether new conversations may begin. */
  get open(): boolean {
    const { level } = this.assessment;
    return this.#isAdmitted && !this.#pauses.paused && (level === 'clean' || level === 'detected');
  }

  /** Whether a violation was raised: everything ends by itself then. */
  get violated(): boolean {
    return this.#isViolated;
  }

  /** Whether the supervisor recently had no CPU time. */
  get starved(): boolean {
    return this.#pauses.starved(monotonicMs());
  }

  get watchdogPid(): number {
    return this.#watchdog.pid;
  }

  get assessment(): Assessment {
    return this.#assessor.assessment;
  }

  /** Milliseconds between two scans. */
  get intervalMs(): number {
    return this.#options.intervalMs;
  }

  /** A role reports that it was late, and whether it cut its turns. */
  late(role: Target['role'], ms: number, cut: boolean): void {
    const now = monotonicMs();
    this.#pauses.reportLateness(role, ms, now);
    if (cut && this.#pauses.reportCut(now)) this.#pause();
  }

  /**
   * Says which processes belong to the server from now on: when a pair was started, when it is ready, when it ended.
   * The watchdog learns it as soon as it is ready.
   */
  async watch(processes: readonly WatchedProcess[], watched: Omit<Watched, 'targets'>): Promise<void> {
    await this.#watchdog.settled;
    if (!this.#isOver) this.#order.set(processes, watched);
  }

  /**
   * Waits for the first scan, and refuses the start when it is not clean. @throws `L6_TOOLS_PRESENT`,
   * `L6_WATCHDOG_FAILED`
   */
  async admit(): Promise<void> {
    const { counted, yellow } = await this.firstScan;
    const found = [...counted, ...yellow];
    if (found.length > 0) {
      const tools = [...new Set(found.flatMap((finding) => (finding.tool === undefined ? [] : [finding.tool])))];
      const accept =
        counted.length === 0 && tools.length > 0
          ? `, or accept it for this run: ./kwyre serve ${tools.map((tool) => `--acknowledge-tool ${tool}`).join(' ')}`
          : '';
      throw new KwyreError(
        'L6_TOOLS_PRESENT',
        ['another process could inspect the server:', ...found.map(describeFinding)].join('\n    '),
        `end that process${accept}`,
      );
    }
    this.#isAdmitted = true;
  }

  /** The report of layer 6. */
  report(): LayerReport {
    return this.#assessor.report(this.#watchdog.enforced);
  }

  /** Raises a violation that is certain: listeners end everything before this returns. */
  raise(violation: Violation, words?: string): void {
    this.#isViolated = true;
    this.emit('violation', violation, words);
    this.kill();
    this.#raised.resolve(violation);
  }

  /** Ends the watchdog without that being a violation. */
  async stop(): Promise<void> {
    this.kill();
    await this.#watchdog.ended;
  }

  /** Kills the watchdog without that being a violation; for the exit path, where nothing can be awaited. */
  kill(): void {
    this.#finish();
    this.#watchdog.kill();
  }

  #finish(): void {
    this.#isOver = true;
    clearInterval(this.#timer);
  }

  /** A violation that was seen by the watchdog or is about it; once. */
  #violate(violation: Violation): void {
    if (this.#isOver) return;
    this.#finish();
    this.raise(violation);
  }

  #watchdogViolated(code: string, name: string): void {
    this.#violate({ code, detector: 'heartbeat', pid: this.#watchdog.pid, uid: this.#options.uid, name });
  }

  #scanned({ epoch, at, scanMs, detections }: ScanReport): void {
    if (epoch !== this.#order.epoch || this.#isOver) return; // of processes that were replaced since
    this.#assessor.count(scanMs);
    const weights = this.#options.weights?.detect();
    const verified = verifyFindings(detections, this.#order.roles, identify);
    this.#assess(weights === undefined ? verified : [...verified, weights], at);
  }

  /** @param began - when the scan began that the detections come from; nothing else ends a pause */
  #assess(reported: readonly Detection[], began: number | undefined): void {
    const nowMs = monotonicMs();
    const change = this.#assessor.assess(this.#pauses.explain(reported, nowMs));
    // The consequence comes before everything that prints and logs.
    if (change.violation !== undefined) this.#violate(change.violation);
    const now = this.assessment;
    for (const finding of change.findings) this.emit('finding', finding, now);
    if (change.isNewLevel) this.emit('level', now);
    // A start on a busy machine is late; a scan that was on time says more.
    if (now.counted.length === 0 || now.counted.some(({ detector }) => !isLateness(detector)))
      this.#firstScan.resolve(now);
    const pause = began === undefined || now.counted.length > 0 ? undefined : this.#pauses.resume(began, nowMs);
    if (pause !== undefined) this.emit('resumed', pause.seconds, pause.noticed);
  }

  #pause(): void {
    this.emit('paused');
    // A scan of what is there now, without waiting for the next one. Scans of the time before are still under way, and
    // count.
    this.#order.send();
  }

  /** Once a second: the supervisor's own gap, what it was, and the watchdog's silence. */
  #tick(): void {
    const now = readClocks();
    const gap = this.#pauses.tick(now, this.#order.otherRoles, { pid: process.pid, uid: this.#options.uid });
    if (gap === 'begun') {
      this.#pause();
      return; // reports of that time wait in the channel; they are read first
    }
    if (gap !== undefined)
      this.#assess(
        [
          ...this.#assessor.detections
            .filter((detection) => detection.detector !== gap.detector)
            .map((detection) => ({ ...detection, findings: [] })),
          gap,
        ],
        undefined,
      );
    if (this.#assessor.scans > 0) {
      if (this.#watchdog.isSilent(now)) this.#watchdogViolated(immediateViolations.watchdogSilent, 'kwyre watchdog');
    } else if (this.#watchdog.isStartOverdue(now))
      this.#firstScan.reject(
        new KwyreError(
          'L6_WATCHDOG_FAILED',
          `the watchdog made no scan in ${maxStartMs / 1000} s`,
          'start again when the machine is less busy',
        ),
      );
  }
}
