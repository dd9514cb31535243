/**
 * Clocks that distinguish a busy or suspended machine from a stopped process: CLOCK_MONOTONIC, and the time that a
 * process was runnable.
 *
 * Source: clock_gettime(2), Documentation/scheduler/sched-stats.rst (`/proc/PID/schedstat`)
 * Proof:  test/unit/linux/clocks.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';

const nsPerMs = 1_000_000;

/** Returns CLOCK_MONOTONIC in whole milliseconds. All processes share it, and it does not advance during suspend. */
export function monotonicMs(): number {
  return Math.floor(Number(process.hrtime.bigint()) / nsPerMs);
}

/**
 * Returns how long a thread was running or runnable, in milliseconds, from its `schedstat`; 0 if the kernel does not
 * record it. Time spent asleep or stopped does not count, so a process that is late by no more than this value was
 * delayed by a busy machine, not stopped.
 * @internal
 */
export function runnableMs(schedstat: string): number {
  const match = /^(\d+) (\d+) \d+/.exec(schedstat);
  return match === null ? 0 : (Number(match[1]) + Number(match[2])) / nsPerMs;
}

/** Returns the same for a process's main thread; 0 if the process has ended. */
export function runnableOf(pid: number | 'self'): number {
  try {
    return runnableMs(readFileSync(`/proc/${pid}/schedstat`, 'latin1'));
  } catch {
    return 0;
  }
}
