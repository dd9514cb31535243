/**
 * Times in which the supervisor did not run: what each of them was, and when the pause is over.
 *
 * Proof: test/unit/supervisor/pause-tracker.test.ts, test/attacks/6-pause.test.ts
 * @module
 */
import { detectGap, measureGap } from '../../layers/6-intrusion/detectors/lost-time.ts';
import type { Detection } from '../../layers/6-intrusion/finding.ts';
import { Pause } from '../../layers/6-intrusion/pause-verdict.ts';
import type { Clocks } from '../../layers/6-intrusion/scan-result.ts';

/** Between two looks at the clocks, in milliseconds. */
export const tickMs = 1000;
/** How long a supervisor that had no CPU time counts as starved, in milliseconds. */
const starvedForMs = 15_000;

/** Returns whether a detector finds lateness only, which a pause of the whole machine explains. */
export function isLateness(detector: Detection['detector']): boolean {
  return detector === 'clock';
}

export class PauseTracker {
  #lastTick: Clocks;
  #pause: Pause | undefined;
  /** Whether this process noticed the pause, and not only a role. */
  #isNoticed = false;
  /** The supervisor's own gap, until it is known what it was. */
  #ownGap: Detection | undefined;
  /** How late each process was, and when it said so. */
  readonly #lateness = new Map<string, { readonly ms: number; readonly at: number }>();
  #starvedAt = -Infinity;

  constructor(now: Clocks) {
    this.#lastTick = now;
  }

  /** Whether a pause happened and no clean scan has followed yet. */
  get paused(): boolean {
    return this.#pause !== undefined;
  }

  /** Returns whether the supervisor recently had no CPU time: a role that heard nothing then met a busy machine. */
  starved(nowMs: number): boolean {
    return nowMs - this.#starvedAt < starvedForMs;
  }

  /** A process of the server reports that it was late by `ms`. */
  reportLateness(process: string, ms: number, nowMs: number): void {
    this.#lateness.set(process, { ms, at: nowMs });
  }

  /**
   * A role cut its turns because it had heard nothing for too long. Nothing that the role says is logged or printed.
   * @returns whether a pause begins with that
   */
  reportCut(nowMs: number): boolean {
    if (this.#pause !== undefined) return false;
    this.#pause = new Pause(0, nowMs, [], false);
    this.#isNoticed = false;
    return true;
  }

  /**
   * Looks at the clocks, once a second.
   * @param others - processes that must be late as well if everything paused
   * @returns `begun` when a pause begins; a detection when it is certain that the supervisor alone was stopped
   */
  tick(
    now: Clocks,
    others: readonly string[],
    supervisor: { readonly pid: number; readonly uid: number },
  ): 'begun' | Detection | undefined {
    const before = this.#lastTick;
    const gap = measureGap(before, now, tickMs);
    this.#lastTick = now;
    // A process that was stopped on a busy machine was stopped all the same.
    if (gap.stopped) this.#starvedAt = -Infinity;
    else if (gap.heldUpMs > 2 * tickMs) this.#starvedAt = now.monotonic;
    if (gap.stopped || gap.suspended) {
      this.#pause = new Pause(
        gap.suspended ? now.boot - before.boot - tickMs : gap.lateMs,
        now.monotonic,
        others,
        gap.suspended,
      );
      this.#isNoticed = true;
      this.#ownGap = detectGap(before, now, tickMs, { role: 'supervisor', ...supervisor });
      return 'begun';
    }
    const ownGap = this.#ownGap;
    const verdict = this.#pause?.verdict(this.#lateness, now.monotonic);
    if (ownGap === undefined || verdict === 'waiting') return undefined;
    this.#ownGap = undefined;
    return verdict === 'alone' && ownGap.findings.length > 0 ? ownGap : undefined;
  }

  /**
   * Removes lateness that one pause of all processes explains, or may explain: whether it was one can be known a moment
   * later.
   */
  explain(detections: readonly Detection[], nowMs: number): readonly Detection[] {
    const verdict = this.#pause?.verdict(this.#lateness, nowMs);
    if (verdict === undefined || verdict === 'alone') return detections;
    return detections.map((detection) => (isLateness(detection.detector) ? { ...detection, findings: [] } : detection));
  }

  /**
   * A scan that began at `beganMs` was clean: ends a pause that was before it.
   * @returns `undefined` when no pause ends. `seconds`: how long all processes paused, 0 when not all of them did;
   * `noticed`: whether this process noticed it.
   */
  resume(beganMs: number, nowMs: number): { readonly seconds: number; readonly noticed: boolean } | undefined {
    const pause = this.#pause;
    const verdict = pause?.verdict(this.#lateness, nowMs);
    if (pause === undefined || verdict === 'waiting' || beganMs < pause.at) return undefined;
    this.#pause = undefined;
    this.#lateness.clear();
    return { seconds: verdict === 'pause' ? Math.round(pause.lateMs / 1000) : 0, noticed: this.#isNoticed };
  }
}
