/**
 * The supervisor's side of layer 6: starts the watchdog, tells it what is ours, judges what it reports.
 *
 * Promise: the watchdog's death, its silence and a breach of its wire are violations like a confirmed detection. What
 *          follows from a violation is the caller's one function, called once.
 *          A pause of the whole machine is none: running turns are cut, and nothing is taken until a clean scan.
 * Limits:  a supervisor that is itself stopped acts when it goes on; its own gap then counts.
 * Proof:   test/attacks/6-debugger.test.ts, test/attacks/6-watchdog.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';
import type { Check, Enforcement, LayerStatus } from '../../base/verdict.ts';
import { worst } from '../../base/verdict.ts';
import { slackMs } from '../../layers/6-intrusion/detectors/lost-time.ts';
import type { Detection, Finding } from '../../layers/6-intrusion/finding.ts';
import {
  immediateViolations,
  initialAssessment,
  assessScan,
  violationOf,
  weightOf,
} from '../../layers/6-intrusion/escalation.ts';
import type { Profile, Assessment, Violation } from '../../layers/6-intrusion/escalation.ts';
import type { Clocks, Target, Watched } from '../../layers/6-intrusion/scan-result.ts';
import type { DispatchTable } from '../../wire/channel.ts';
import { controlSchemas, encodeJson, parseJson } from '../../wire/control-payloads.ts';
import { controlMessages } from '../../wire/messages.ts';
import type { RoleProcess } from '../roles/role-process.ts';
import { isLateness, PauseTracker, tickMs } from './pause-tracker.ts';
import { identify, verifyFindings } from './reported-finding.ts';

/** What the supervisor gives. */
export type WatchPowers = {
  /** Starts the watchdog behind its jail stage. */
  readonly start: (table: DispatchTable, onBreach: (error: KwyreError) => void) => RoleProcess;
  readonly clocks: () => Clocks;
  readonly now: () => number;
  /** How long a process ran or waited for a processor, in milliseconds. */
  readonly runnableOf: (pid: number) => number;
  /** The supervisor itself, as a target. */
  readonly self: () => Target;
  readonly uid: number;
  readonly intervalMs: number;
  readonly profile: Profile;
  /** Ids of tools that the operator accepted for this run. */
  readonly acknowledged: readonly string[];
  /** The state of the model's file, judged by the caller's own descriptor. */
  readonly weights: () => Detection | undefined;
  /** A finding seen for the first time, for the log. */
  readonly onFinding: (finding: Finding, standing: Assessment) => void;
  /** The level changed: print it, refuse or take new conversations. */
  readonly onLevel: (standing: Assessment) => void;
  /** The machine stood still, or we did: cuts every running turn, and takes nothing until `onResumed`. */
  readonly onPaused: () => void;
  /**
   * A scan that began after a pause was clean. `seconds`: how long all of us stood still, 0 when not all did;
   * `noticed`: by this process itself.
   */
  readonly onResumed: (seconds: number, noticed: boolean) => void;
  /** Ends everything; called once. */
  readonly onViolation: (violation: Violation) => void;
};

/** The most time without a word of the watchdog: two scans of the longest interval. */
export const silenceMs = 10_000;
/** The most time until the first scan: on a busy machine a start takes long, and that is no intrusion. */
const readyMs = 120_000;
/** The most time without a word of a watchdog that has no processor to speak. */
const starvedMs = 60_000;

/** One finding in words, for a terminal or a refusal. */
export function describe(finding: Finding): string {
  return `${finding.name}${finding.pid === 0 ? '' : ` (pid ${finding.pid}, uid ${finding.uid})`} ${finding.what}`;
}

/**
 * In whose network a role is: root gives each role one of its own; the one that a service manager made holds all of us.
 */
export function namespaceOf(enforced: readonly Enforcement[], uid: number): Target['namespace'] {
  return uid === 0 && enforced.some((entry) => entry.feature === 'network-namespace' && entry.status === 'full')
    ? 'own'
    : 'shared';
}

export class Watch {
  /** Settles with the first scan, before anything is served. */
  readonly first: Promise<Assessment>;
  readonly #powers: WatchPowers;
  readonly #child: RoleProcess;
  #order: Omit<Watched, 'targets'> = {
    port: 0,
    listener: 0,
    networks: [process.pid],
    unixPath: '',
    code: [],
    memory: [],
  };
  /** Our processes by their ids, for their names in findings. */
  #ours: ReadonlyMap<number, string> = new Map();
  #epoch = -1;
  #standing = initialAssessment;
  #detections: readonly Detection[] = [];
  #enforced: readonly Enforcement[] = [];
  #lastWord: Clocks;
  #timer: NodeJS.Timeout;
  #over = false;
  #isReady = false;
  #scanMs = 0;
  #scans = 0;
  #children: readonly Target[] = [];
  /** How long the watchdog had been runnable at its last word. */
  #runnableThen = 0;
  readonly #stillness: PauseTracker;
  readonly #known = new Set<string>();
  readonly #ready = Promise.withResolvers<undefined>();
  readonly #first = Promise.withResolvers<Assessment>();

  constructor(powers: WatchPowers) {
    this.#powers = powers;
    this.#lastWord = powers.clocks();
    this.#stillness = new PauseTracker(this.#lastWord);
    this.#child = powers.start(this.#table(), (error) => {
      this.#violate({
        code: immediateViolations.wireBreach,
        detector: 'heartbeat',
        pid: this.#child.pid,
        uid: powers.uid,
        name: error.code,
      });
    });
    this.#child.control.send(
      controlMessages.configure,
      encodeJson({ intervalMs: powers.intervalMs, ownUid: powers.uid }),
    );
    this.first = this.#first.promise;
    this.first.catch(() => undefined);
    void this.#child.silent.then((ending) => {
      const words = this.#child.lastWords.trim();
      this.#first.reject(
        new KwyreError(
          'L6_WATCHDOG_FAILED',
          `the watchdog ended while starting (${ending.signal ?? `exit ${ending.code ?? 1}`})${words === '' ? '' : `: ${words}`}`,
        ),
      );
    });
    void this.#child.ended.then((ending) => {
      // A start that failed is refused by `first`; only what was ready can be lost, or what the kernel killed.
      if (!this.#isReady && ending.signal !== 'SIGSYS') this.#finish();
      this.#ready.resolve(undefined);
      this.#child.release();
      this.#violate({
        code: ending.signal === 'SIGSYS' ? immediateViolations.kernelKill : immediateViolations.watchdogDead,
        detector: 'heartbeat',
        pid: this.#child.pid,
        uid: powers.uid,
        name: 'kwyre watchdog',
      });
    });
    this.#timer = setInterval(() => {
      this.#tick();
    }, tickMs);
  }

  /** The watchdog's own process, which it watches too. */
  get pid(): number {
    return this.#child.pid;
  }

  get standing(): Assessment {
    return this.#standing;
  }

  /** Whether nothing may be taken because of a pause that no clean scan has followed yet. */
  get paused(): boolean {
    return this.#stillness.paused;
  }

  /** Whether this process had no processor a moment ago. */
  get starved(): boolean {
    return this.#stillness.starved(this.#powers.clocks().monotonic);
  }

  /** A role says that it stood still, and whether it cut its turns for that. */
  late(role: Target['role'], ms: number, cut: boolean): void {
    const now = this.#powers.clocks().monotonic;
    this.#stillness.late(role, ms, now);
    if (cut && this.#stillness.cut(now)) this.#pause();
  }

  /** What the watchdog's own jail and seal observed. */
  get enforced(): readonly Enforcement[] {
    return this.#enforced;
  }

  /** Says which processes are ours from now on; call it once before a pair and again whenever a pair is ready. */
  async observe(children: readonly Target[], facts: Omit<Watched, 'targets'> = this.#order): Promise<void> {
    await this.#ready.promise;
    if (this.#over) return;
    this.#order = facts;
    this.#children = children;
    this.#epoch += 1;
    this.#send();
  }

  /** The order to watch, as it is now. */
  #send(): void {
    const watchdog: Target = {
      role: 'watchdog',
      pid: this.#child.pid,
      sealed: true,
      namespace: namespaceOf(this.#enforced, this.#powers.uid),
      sockets: this.#child.sockets,
    };
    const targets = [this.#powers.self(), watchdog, ...this.#children];
    this.#ours = new Map(targets.map(({ pid, role }) => [pid, role]));
    this.#child.control.send(controlMessages.watch, encodeJson({ epoch: this.#epoch, targets, ...this.#order }));
  }

  /** Lets the watchdog end without that being a violation. */
  async stop(): Promise<void> {
    this.#finish();
    this.#child.kill();
    await this.#child.ended;
  }

  /** For the exit path, where nothing can be awaited. */
  kill(): void {
    this.#finish();
    this.#child.kill();
  }

  /** Layer 6 for `/kwyre/status`: one check per detector, and what was found. */
  report(): { readonly status: LayerStatus; readonly checks: readonly Check[] } {
    const at = this.#powers.now();
    const { level, counted, yellow, notes } = this.#standing;
    const found = [...counted, ...yellow, ...notes].map(describe);
    const scan: Check = {
      id: 'scan',
      status: this.#scans === 0 ? 'off' : level === 'clean' ? 'enforced' : 'degraded',
      evidence:
        this.#scans === 0
          ? 'no scan yet'
          : `scan ${this.#scans}, every ${this.#powers.intervalMs} ms, profile ${this.#powers.profile}, level ${level}, the last one took ${this.#scanMs} ms${found.length === 0 ? '' : `: ${found.slice(0, 3).join('; ')}`}`,
      at,
    };
    const checks = this.#detections.map((detection): Check => {
      const alarming = detection.findings.some(
        (finding) => weightOf(finding, this.#powers.profile, this.#powers.acknowledged) !== 'note',
      );
      return {
        id: detection.detector,
        status:
          detection.seen === 'unreadable' || alarming
            ? 'degraded'
            : detection.seen === 'not-available'
              ? 'off'
              : 'enforced',
        evidence: `${detection.seen}${detection.reason === '' ? '' : ` (${detection.reason})`}, ${detection.findings.length} findings`,
        at,
      };
    });
    // What only root could see is shown as off, and by itself is no fault of the layer.
    return { status: worst([scan, ...checks.filter((check) => check.status !== 'off')]), checks: [scan, ...checks] };
  }

  #finish(): void {
    this.#over = true;
    clearInterval(this.#timer);
  }

  #violate(violation: Violation): void {
    if (this.#over) return;
    this.#finish();
    this.#powers.onViolation(violation);
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
          this.#first.reject(new KwyreError(code, message, remedy));
          this.kill();
        },
      },
      [controlMessages.ready]: {
        permit: 'start',
        handle: (frame) => {
          this.#enforced = [...this.#enforced, ...parseJson(controlSchemas.readyWatchdog, frame.payload).enforced];
          this.#isReady = true;
          this.#child.silence();
          this.#child.control.endStartup();
          this.#heard();
          this.#ready.resolve(undefined);
        },
      },
      [controlMessages.beat]: {
        permit: 'always',
        handle: (frame) => {
          this.#heard();
          const { lateMs } = parseJson(controlSchemas.beat, frame.payload);
          if (lateMs > tickMs) this.#stillness.late('watchdog', lateMs, this.#lastWord.monotonic);
        },
      },
      [controlMessages.pong]: { permit: 'always', handle: () => undefined },
      [controlMessages.scanned]: {
        permit: 'always',
        handle: (frame) => {
          this.#heard();
          const { epoch, at, scanMs, detections } = parseJson(controlSchemas.scanned, frame.payload);
          if (epoch !== this.#epoch || this.#over) return; // of processes that were replaced since
          this.#scans += 1;
          this.#scanMs = scanMs;
          const weights = this.#powers.weights();
          const seen = verifyFindings(detections, this.#ours, identify);
          this.#judge(weights === undefined ? seen : [...seen, weights], at);
        },
      },
    };
  }

  #heard(): void {
    this.#lastWord = this.#powers.clocks();
    this.#runnableThen = this.#powers.runnableOf(this.#child.pid);
  }

  /** @param began - when the scan began that this comes from; nothing else ends a pause. */
  #judge(seenBy: readonly Detection[], began: number | undefined): void {
    const before = this.#standing;
    const nowMs = this.#powers.clocks().monotonic;
    const detections = this.#stillness.explain(seenBy, nowMs);
    this.#detections = detections;
    this.#standing = assessScan(before, detections, this.#powers.profile, this.#powers.acknowledged);
    const now = this.#standing;
    // The consequence first: what tells and logs comes after it.
    if (now.level === 'confirmed') this.#violate(violationOf(now));
    const seen = new Set<string>();
    for (const finding of [...now.counted, ...now.yellow, ...now.notes]) {
      const key = `${finding.detector} ${finding.pid} ${finding.name} ${finding.relation}`;
      seen.add(key);
      if (!this.#known.has(key)) this.#powers.onFinding(finding, now);
      this.#known.add(key);
    }
    // What went away may come back and is then worth a line again; the log cannot be flooded by one pid.
    for (const key of this.#known) if (!seen.has(key) && this.#known.size > 256) this.#known.delete(key);
    if (now.level !== before.level) this.#powers.onLevel(now);
    // To be late is what a start on a busy machine is; a scan that was on time says more.
    if (now.counted.length === 0 || now.counted.some(({ detector }) => !isLateness(detector))) this.#first.resolve(now);
    const pause = began === undefined || now.counted.length > 0 ? undefined : this.#stillness.resume(began, nowMs);
    if (pause !== undefined) this.#powers.onResumed(pause.seconds, pause.noticed);
  }

  #pause(): void {
    this.#powers.onPaused();
    // A scan of what is there now, without waiting for the next one. Those of the time before are still on the way, and
    // count.
    if (this.#epoch >= 0) this.#send();
  }

  /** Once a second: our own gap, what it was, and the watchdog's silence. */
  #tick(): void {
    const now = this.#powers.clocks();
    const others = [...new Set(['watchdog', ...this.#children.map(({ role }) => role)])];
    const came = this.#stillness.tick(now, others, { pid: this.#powers.self().pid, uid: this.#powers.uid });
    if (came === 'begun') {
      this.#pause();
      return; // the words of that time wait in the channel; they are read first
    }
    if (came !== undefined)
      this.#judge(
        [
          ...this.#detections
            .filter((detection) => detection.detector !== came.detector)
            .map((detection) => ({ ...detection, findings: [] })),
          came,
        ],
        undefined,
      );
    this.#judgeSilence(now);
  }

  #judgeSilence(now: Clocks): void {
    const silentMs = now.monotonic - this.#lastWord.monotonic;
    if (this.#scans === 0) {
      if (silentMs <= readyMs) return;
      this.#first.reject(
        new KwyreError(
          'L6_WATCHDOG_FAILED',
          `the watchdog made no scan in ${readyMs / 1000} s`,
          'start again when the machine is less busy',
        ),
      );
      return;
    }
    if (silentMs <= silenceMs) return;
    // It could not speak while it had no processor; a stopped one does not wait for one.
    const heldUpMs = this.#powers.runnableOf(this.#child.pid) - this.#runnableThen;
    if (silentMs <= starvedMs && silentMs - heldUpMs <= slackMs) return;
    this.#violate({
      code: immediateViolations.watchdogSilent,
      detector: 'heartbeat',
      pid: this.#child.pid,
      uid: this.#powers.uid,
      name: 'kwyre watchdog',
    });
  }
}
