/**
 * Tracks the periods in which the supervisor did not run, the cause of each, and when the pause is over.
 *
 * Proof: test/unit/supervisor/pause-tracker.test.ts, test/attacks/6-pause.test.ts
 * @module
 */
import { detectGap, measureGap } from '../../layers/6-intrusion/detectors/lost-time.ts';
import type { Detection } from '../../layers/6-intrusion/finding.ts';
import { Pause } from '../../layers/6-intrusion/pause-verdict.ts';
import type { Clocks } from '../../layers/6-intrusion/scan-result.ts';

/** Interval between two readings of the clocks, in milliseconds. */
export const tickMs = 1000;
/** How long after a lack of CPU time the supervisor still counts as starved, in milliseconds. */
const starvedForMs = 15_000;

/** Returns whether a detector reports only lateness, which a pause of the whole machine can explain. */
export function isLateness(detector: Detection['detector']): boolean {
  return detector === 'clock';
}

export class PauseTracker {
  #lastTick: Clocks;
  #pause: Pause | undefined;
  /** Whether this process noticed the pause itself, rather than learning of it only from a role. */
  #isNoticed = false;
  /** The gap in the supervisor's own clock, until its cause is known. */
  #ownGap: Detection | undefined;
  /** How late each process was, and when it reported that. */
  readonly #lateness = new Map<string, { readonly ms: number; readonly at: number }>();
  #starvedAt = -Infinity;

  constructor(now: Clocks) {
    this.#lastTick = now;
  }

  /** Whether a pause happened and no clean scan has followed yet. */
  get paused(): boolean {
    return this.#pause !== undefined;
  }

  /**
   * Returns whether the supervisor recently had no CPU time, in which case a role may have heard nothing from it. A
   * stop since the last tick counts, because the end of a role can be noticed before the tick that measures the stop.
   */
  starved(now: Clocks): boolean {
    return !measureGap(this.#lastTick, now, tickMs).stopped && now.monotonic - this.#starvedAt < starvedForMs;
  }

  /** Records that one of the server's processes reported being late by `ms`. */
  reportLateness(process: string, ms: number, nowMs: number): void {
    this.#lateness.set(process, { ms, at: nowMs });
  }

  /**
   * Records that a role aborted its turns because it had heard nothing for too long. Nothing in the role's report is
   * logged or printed.
   * @returns whether this begins a pause
   */
  reportCut(nowMs: number): boolean {
    if (this.#pause !== undefined) return false;
    this.#pause = new Pause(0, nowMs, [], false);
    this.#isNoticed = false;
    return true;
  }

  /**
   * Reads the clocks; called once a second.
   * @param others - processes that must also have been late if the whole machine paused
   * @returns `begun` when a pause begins; a detection when it is certain that only the supervisor was stopped
   */
  tick(
    now: Clocks,
    others: readonly string[],
    supervisor: { readonly pid: number; readonly uid: number },
  ): 'begun' | Detection | undefined {
    const before = this.#lastTick;
    const gap = measureGap(before, now, tickMs);
    this.#lastTick = now;
    // A busy machine does not excuse a process that was stopped.
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
   * Removes findings of lateness that a pause of all processes explains. Findings that such a pause might explain are
   * removed too, because whether there was one becomes known only a moment later.
   */
  explain(detections: readonly Detection[], nowMs: number): readonly Detection[] {
    const verdict = this.#pause?.verdict(this.#lateness, nowMs);
    if (verdict === undefined || verdict === 'alone') return detections;
    return detections.map((detection) => (isLateness(detection.detector) ? { ...detection, findings: [] } : detection));
  }

  /**
   * Ends any pause that precedes `beganMs`, the start of a clean scan.
   * @returns `undefined` when no pause ends. `seconds`: how long all processes paused, or 0 if only some did;
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
