/**
 * Time that went by without us: stopped by a signal, a frozen control group, a starved event loop.
 *
 * A suspended machine is told apart: CLOCK_MONOTONIC stands still with it, CLOCK_BOOTTIME does not (L6-23). So is a
 * busy one: the kernel counts how long a process waited for a processor, and a stopped one does not wait. A machine
 * that paused as a whole (a virtual one, a frozen control group) is told apart by `pause-verdict.ts`: all of us are
 * late by as much.
 *
 * Limits:  a process that waits for a disk that gives nothing for seconds looks like a stopped one.
 * Source:  clock_gettime(2)
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import type { Detection } from '../finding.ts';
import { fullVisibility } from '../finding.ts';
import type { Clocks } from '../scan-result.ts';

/** Lateness that a busy machine explains by itself. */
export const slackMs = 4000;
/** A difference of the two clocks that is a suspension and not their resolution. */
const suspensionMs = 500;

/**
 * What happened between two looks at the clocks that were meant to be `intervalMs` apart; `heldUpMs` of its lateness it
 * could have run, had there been a processor.
 */
export function measureGap(
  before: Clocks,
  now: Clocks,
  intervalMs: number,
): { readonly lateMs: number; readonly heldUpMs: number; readonly suspended: boolean; readonly stopped: boolean } {
  const passed = now.monotonic - before.monotonic;
  const suspended = now.boot - before.boot - passed > suspensionMs;
  const lateMs = Math.max(0, Math.round(passed - intervalMs));
  const heldUpMs = Math.min(lateMs, Math.max(0, now.runnable - before.runnable));
  return { lateMs, heldUpMs, suspended, stopped: lateMs - heldUpMs > slackMs && !suspended };
}

/** A gap between this scan and the one before it. */
export function detectGap(
  before: Clocks | undefined,
  now: Clocks,
  intervalMs: number,
  whose: { readonly role: string; readonly pid: number; readonly uid: number },
): Detection {
  const gap = before === undefined ? undefined : measureGap(before, now, intervalMs);
  return {
    detector: 'clock',
    ...fullVisibility,
    findings:
      gap?.stopped === true
        ? [
            {
              detector: 'clock',
              relation: 'effect',
              pid: whose.pid,
              uid: whose.uid,
              name: `kwyre ${whose.role}`,
              what: `the ${whose.role} stood still for ${Math.round(gap.lateMs / 1000)} s`,
            },
          ]
        : [],
  };
}
