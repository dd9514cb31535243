/**
 * Detects that a process did not run for some time: it was stopped by a signal, was in a frozen cgroup, or had a
 * blocked event loop.
 *
 * Suspension of the machine can be distinguished from this, because CLOCK_MONOTONIC stops during suspension and
 * CLOCK_BOOTTIME does not (L6-23). A busy machine can be distinguished too: the kernel counts how long a process waited
 * for a CPU, and a stopped process does not wait. If all processes were paused together (with their virtual machine or
 * in a frozen cgroup), they are all late by the same amount, which `pause-verdict.ts` recognizes.
 *
 * Limits:  a process that waits several seconds for a slow disk looks like a stopped one.
 * Source:  clock_gettime(2)
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import type { Detection } from '../finding.ts';
import { fullVisibility } from '../finding.ts';
import type { Clocks } from '../scan-result.ts';

/** Maximum lateness that is attributed to a busy machine, in milliseconds. */
export const slackMs = 4000;
/** If the two clocks differ by at least this number of milliseconds, the machine was suspended. */
const suspensionMs = 500;

/**
 * Measures the gap between two readings of the clocks that should be `intervalMs` apart. `heldUpMs`: the part of the
 * lateness during which the process waited for a CPU.
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

/** Finds a gap between this scan and the previous one. */
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
