/**
 * The clocks that tell a pause from a stop: one that all processes of the machine share, one that goes on while the
 * machine sleeps, and the time in which a process could have run.
 *
 * Source: clock_gettime(2), Documentation/scheduler/sched-stats.rst (`/proc/PID/schedstat`)
 * Proof:  test/unit/linux/clocks.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';

const nsPerMs = 1_000_000;

/**
 * CLOCK_MONOTONIC in whole milliseconds: the same number in every process, and it stands still while the machine
 * sleeps.
 */
export function monotonicMs(): number {
  return Math.floor(Number(process.hrtime.bigint()) / nsPerMs);
}

/**
 * How long a thread ran or waited for a processor, in milliseconds, from its `schedstat`. Time in which it was stopped
 * or slept is not in it: a process that is late by less than this counts was held up by a busy machine, not stopped. 0
 * where the kernel does not count.
 */
export function runnableMs(schedstat: string): number {
  const match = /^(\d+) (\d+) \d+/.exec(schedstat);
  return match === null ? 0 : (Number(match[1]) + Number(match[2])) / nsPerMs;
}

/** The same for the first thread of a process; 0 when it is gone. */
export function runnableOf(pid: number | 'self'): number {
  try {
    return runnableMs(readFileSync(`/proc/${pid}/schedstat`, 'latin1'));
  } catch {
    return 0;
  }
}
