/**
 * Layer 6 in a running server: runs the watchdog, assesses its scans, and raises a violation.
 *
 * The watchdog's death, its silence and a breach of its wire protocol are violations, just like a confirmed detection.
 * A pause of the whole machine is not a violation: running turns are aborted, and new requests are refused until a scan
 * that began after the pause finds nothing.
 *
 * Promise: nothing is served before the first scan, and the start fails if that scan finds a running tool. A violation
 *          is emitted in the same event-loop tick in which it becomes certain, before anything is logged or printed.
 * Limits:  a supervisor that is itself stopped cannot act until it continues. The gap in its clock is assessed only
 *          then.
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

/** Options of the alarm. */
type AlarmOptions = WatchdogOptions &
  AssessorOptions & {
    /** Watches the model's files; absent in tests. */
    readonly weights?: WeightsMonitor;
  };

/** Events of the alarm. */
type AlarmEvents = {
  /** A violation is certain, and every process must end. `words` describes the violation on the terminal. */
  violation: [violation: Violation, words: string | undefined];
  /** The last scan has a finding that the previous scan did not have. */
  finding: [finding: Finding, assessment: Assessment];
  /** The level of the assessment changed. */
  level: [Assessment];
  /** The machine or the supervisor paused: abort every running turn, and refuse new requests until `resumed`. */
  paused: [];
  /**
   * A scan that began after the pause was clean. `seconds`: how long all processes paused, or 0 if only some did;
   * `noticed`: whether the supervisor itself noticed the pause.
   */
  resumed: [seconds: number, noticed: boolean];
};

const readClocks = (): Clocks => ({ monotonic: monotonicMs(), boot: uptime() * 1000, runnable: runnableOf('self') });

export class Alarm extends EventEmitter<AlarmEvents> {
  /** Settles when a violation is certain and every process has been told to end. */
  readonly raised: Promise<Violation>;
  /** Settles with the assessment of the first scan. @throws `L6_WATCHDOG_FAILED`, or the error the watchdog reported */
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
      // If the watchdog fails to start, `firstScan` rejects. The end of the watchdog is a violation only if it had been
      // ready, or if the kernel killed it.
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

  /** Whether the server passed {@link admit}. Nothing is printed before that. */
  get admitted(): boolean {
    return this.#isAdmitted;
  }

  /** Whether new conversations may begin. */
  get open(): boolean {
    const { level } = this.assessment;
    return this.#isAdmitted && !this.#pauses.paused && (level === 'clean' || level === 'detected');
  }

  /** Whether a violation was raised, in which case everything is already ending. */
  get violated(): boolean {
    return this.#isViolated;
  }

  /** Whether the supervisor recently had no CPU time. */
  get starved(): boolean {
    return this.#pauses.starved(readClocks());
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

  /** Handles a role's report of its own lateness. @param cut - whether the role aborted its turns */
  late(role: Target['role'], ms: number, cut: boolean): void {
    const now = monotonicMs();
    this.#pauses.reportLateness(role, ms, now);
    if (cut && this.#pauses.reportCut(now)) this.#pause();
  }

  /**
   * Sets which processes belong to the server from now on. Called when a pair has started, is ready, or has ended. The
   * watchdog receives the list as soon as it is ready.
   */
  async watch(processes: readonly WatchedProcess[], watched: Omit<Watched, 'targets'>): Promise<void> {
    await this.#watchdog.settled;
    if (!this.#isOver) this.#order.set(processes, watched);
  }

  /**
   * Waits for the first scan, and throws if it is not clean. @throws `L6_TOOLS_PRESENT`, `L6_WATCHDOG_FAILED`
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

  /** Returns layer 6's report. */
  report(): LayerReport {
    return this.#assessor.report(this.#watchdog.enforced);
  }

  /** Raises a violation that is certain. The listeners end every process before this returns. */
  raise(violation: Violation, words?: string): void {
    this.#isViolated = true;
    this.emit('violation', violation, words);
    this.kill();
    this.#raised.resolve(violation);
  }

  /** Ends the watchdog without raising a violation. */
  async stop(): Promise<void> {
    this.kill();
    await this.#watchdog.ended;
  }

  /** Kills the watchdog without raising a violation. For the exit path, where nothing can be awaited. */
  kill(): void {
    this.#finish();
    this.#watchdog.kill();
  }

  #finish(): void {
    this.#isOver = true;
    clearInterval(this.#timer);
  }

  /** Raises a violation that the watchdog detected or caused, unless the alarm is already over. */
  #violate(violation: Violation): void {
    if (this.#isOver) return;
    this.#finish();
    this.raise(violation);
  }

  #watchdogViolated(code: string, name: string): void {
    this.#violate({ code, detector: 'heartbeat', pid: this.#watchdog.pid, uid: this.#options.uid, name });
  }

  #scanned({ epoch, at, scanMs, detections }: ScanReport): void {
    if (epoch !== this.#order.epoch || this.#isOver) return; // a scan of processes that have since been replaced
    this.#assessor.count(scanMs);
    const weights = this.#options.weights?.detect();
    const verified = verifyFindings(detections, this.#order.roles, identify);
    this.#assess(weights === undefined ? verified : [...verified, weights], at);
  }

  /** @param began - when the scan that made the detections began; `undefined` if there was none, so no pause ends */
  #assess(reported: readonly Detection[], began: number | undefined): void {
    const nowMs = monotonicMs();
    const change = this.#assessor.assess(this.#pauses.explain(reported, nowMs));
    // Act first; print and log afterwards.
    if (change.violation !== undefined) this.#violate(change.violation);
    const now = this.assessment;
    for (const finding of change.findings) this.emit('finding', finding, now);
    if (change.isNewLevel) this.emit('level', now);
    // On a busy machine, the first scan may find nothing but lateness. In that case, wait for a scan that is on time.
    if (now.counted.length === 0 || now.counted.some(({ detector }) => !isLateness(detector)))
      this.#firstScan.resolve(now);
    const pause = began === undefined || now.counted.length > 0 ? undefined : this.#pauses.resume(began, nowMs);
    if (pause !== undefined) this.emit('resumed', pause.seconds, pause.noticed);
  }

  #pause(): void {
    this.emit('paused');
    // Request a scan now instead of waiting for the next one. Reports of earlier scans may still arrive and count too.
    this.#order.send();
  }

  /** Once a second, checks for a gap in the supervisor's own clock, and for a silent watchdog. */
  #tick(): void {
    const now = readClocks();
    const gap = this.#pauses.tick(now, this.#order.otherRoles, { pid: process.pid, uid: this.#options.uid });
    if (gap === 'begun') {
      this.#pause();
      return; // reports sent during the gap are still in the channel and must be read first
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
