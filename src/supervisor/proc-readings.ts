/**
 * What the supervisor reads of `/proc` for its reports.
 *
 * Source: proc(5)
 * @module
 */
import { readdirSync } from 'node:fs';
import { maxTableBytes } from '../layers/1-loopback/status.ts';
import { openProcReader } from '../linux/procfs/proc-reader.ts';
import { statusField } from '../linux/procfs/task-status.ts';

const proc = openProcReader();

/**
 * Returns a table of the kernel, at most {@link maxTableBytes} of it, since other users can open any number of
 * connections; empty when the kernel has no such table.
 */
export function readTable(path: string): string {
  const result = proc.readLong(path, maxTableBytes);
  return 'value' in result ? result.value : '';
}

/** Returns how many seccomp filters this process has; 0 where the kernel does not count them (before Linux 5.9). */
export function countFilters(): number {
  return Number(statusField(readTable('/proc/self/status'), 'Seccomp_filters'));
}

/** Returns `status` of every thread of a process; none when it has ended. */
export function readThreads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map((thread) => readTable(`/proc/${pid}/task/${thread}/status`))
      .filter((text) => text !== '');
  } catch {
    return [];
  }
}
