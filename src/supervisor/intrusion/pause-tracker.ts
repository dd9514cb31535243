/**
 * Times in which the supervisor stood still: what they were, and until when nothing is taken after them.
 *
 * Proof: test/unit/supervisor/pause-tracker.test.ts, test/attacks/6-pause.test.ts
 * @module
 */
import { detectGap, measureGap } from '../../layers/6-intrusion/detectors/lost-time.ts';
import type { Detection } from '../../layers/6-intrusion/finding.ts';
import { Pause } from '../../layers/6-intrusion/pause-verdict.ts';
import type { Clocks } from '../../layers/6-intrusion/scan-result.ts';

/** Between two looks at the clocks. */
export const tickMs = 1000;
/** How long a supervisor counts as starved after it was. */
const starvedForMs = 15_000;

/** Whether a finding is nothing but lateness, which a pause of the whole machine explains. */
export function isLateness(detector: Detection['detector']): boolean {
  return detector === 'clock';
}

export class PauseTracker {
  #lastTick: Clocks;
  #pause: Pause | undefined;
  /** Whether the pause was noticed here, and not only said by a role. */
  #noticed = false;
  /** Our own gap, until it is known what it was. */
  #own: Detection | undefined;
  /** Who stood still, for how long, and when that was said. */
  readonly #late = new Map<string, { readonly ms: number; readonly at: number }>();
  #starvedAt = -Infinity;

  constructor(now: Clocks) {
    this.#lastTick = now;
  }

  /** Whether nothing may be taken because of a pause that no clean scan has followed yet. */
  get paused(): boolean {
    return this.#pause !== undefined;
  }

  /**
   * Whether this process had no processor a moment ago: whoever waited for its word in vain then met a busy machine.
   */
  starved(nowMs: number): boolean {
    return nowMs - this.#starvedAt < starvedForMs;
  }

  /** Somebody of ours stood still. */
  late(who: string, ms: number, nowMs: number): void {
    this.#late.set(who, { ms, at: nowMs });
  }

  /**
   * A role cut its turns by itself, since it had heard nothing for too long; whether a pause begins with that. Nothing
   * of what it says is logged or printed.
   */
  cut(nowMs: number): boolean {
    if (this.#pause !== undefined) return false;
    this.#pause = new Pause(0, nowMs, [], false);
    this.#noticed = false;
    return true;
  }

  /**
   * Once a second.
   * @param others - who must have been late as well for a pause of all.
   * @returns `begun` when a pause begins, a detection when it is certain that we were late alone.
   */
  tick(
    now: Clocks,
    others: readonly string[],
    whose: { readonly pid: number; readonly uid: number },
  ): 'begun' | Detection | undefined {
    const before = this.#lastTick;
    const gap = measureGap(before, now, tickMs);
    this.#lastTick = now;
    // Whoever stops us on a busy machine has stopped us.
    if (gap.stopped) this.#starvedAt = -Infinity;
    else if (gap.heldUpMs > 2 * tickMs) this.#starvedAt = now.monotonic;
    if (gap.stopped || gap.suspended) {
      this.#pause = new Pause(
        gap.suspended ? now.boot - before.boot - tickMs : gap.lateMs,
        now.monotonic,
        others,
        gap.suspended,
      );
      this.#noticed = true;
      this.#own = detectGap(before, now, tickMs, { role: 'supervisor', ...whose });
      return 'begun';
    }
    const own = this.#own;
    const verdict = this.#pause?.verdict(this.#late, now.monotonic);
    if (own === undefined || verdict === 'waiting') return undefined;
    this.#own = undefined;
    return verdict === 'alone' && own.findings.length > 0 ? own : undefined;
  }

  /** Detections without the lateness that one pause of all explains; whether it was one may be known a moment later. */
  explain(detections: readonly Detection[], nowMs: number): readonly Detection[] {
    const verdict = this.#pause?.verdict(this.#late, nowMs);
    if (verdict === undefined || verdict === 'alone') return detections;
    return detections.map((detection) => (isLateness(detection.detector) ? { ...detection, findings: [] } : detection));
  }

  /**
   * A clean scan that began at `beganMs`: the end of a pause that was before it.
   * @returns how many seconds all of us stood still, 0 when it was not all of us, and whether that was noticed here;
   * `undefined` when no pause ends.
   */
  resume(beganMs: number, nowMs: number): { readonly seconds: number; readonly noticed: boolean } | undefined {
    const pause = this.#pause;
    const verdict = pause?.verdict(this.#late, nowMs);
    if (pause === undefined || verdict === 'waiting' || beganMs < pause.at) return undefined;
    this.#pause = undefined;
    this.#late.clear();
    return { seconds: verdict === 'pause' ? Math.round(pause.lateMs / 1000) : 0, noticed: this.#noticed };
  }
}
