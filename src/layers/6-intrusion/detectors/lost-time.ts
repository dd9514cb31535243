/**
 * Time in which a process did not run: stopped by a signal, in a frozen cgroup, or with a blocked event loop.
 *
 * A suspended machine is told apart: CLOCK_MONOTONIC stops with it, CLOCK_BOOTTIME does not (L6-23). So is a busy
 * machine: the kernel counts how long a process waited for a CPU, and a stopped process does not wait. A machine that
 * paused as a whole (a virtual machine, a frozen cgroup) is told apart by `pause-verdict.ts`: all processes are late by
 * the same time.
 *
 * Limits:  a process that waits for seconds for a slow disk looks like a stopped one.
 * Source:  clock_gettime(2)
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import type { Detection } from '../finding.ts';
import { fullVisibility } from '../finding.ts';
import type { Clocks } from '../scan-result.ts';

/** Lateness in milliseconds that a busy machine explains. */
export const slackMs = 4000;
/** Difference of the two clocks, in milliseconds, from which on the machine was suspended. */
const suspensionMs = 500;

/**
 * Measures what happened between two readings of the clocks that should be `intervalMs` apart. `heldUpMs`: the part of
 * the lateness in which the process waited for a CPU.
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

/** Finds a gap between this scan and the one before it. */
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
              what: `the ${whose.role} was stopped for ${Math.round(gap.lateMs / 1000)} s`,
            },
          ]
        : [],
  };
}
