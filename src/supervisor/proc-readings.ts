/**
 * Reads `/proc` for the supervisor's reports.
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
 * Returns the text of a kernel table, or an empty string if the kernel has no such table. Reads at most
 * {@link maxTableBytes}, since other users can open any number of connections.
 */
export function readTable(path: string): string {
  const result = proc.readLong(path, maxTableBytes);
  return 'value' in result ? result.value : '';
}

/** Returns the number of this process's seccomp filters, or 0 before Linux 5.9, which does not count them. */
export function countFilters(): number {
  return Number(statusField(readTable('/proc/self/status'), 'Seccomp_filters'));
}

/** Returns the text of `status` for every thread of a process; an empty array if the process has ended. */
export function readThreads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map((thread) => readTable(`/proc/${pid}/task/${thread}/status`))
      .filter((text) => text !== '');
  } catch {
    return [];
  }
}
