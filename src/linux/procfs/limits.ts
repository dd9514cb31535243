/**
 * The limit of open files of a process, as `/proc/PID/limits` tells it.
 *
 * Source: proc_pid_limits(5)
 * Proof:  test/unit/linux/limits.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';

/** Soft and hard limit; `Infinity` where there is none. */
export type OpenFiles = { readonly soft: number; readonly hard: number };

/** Reads the limit of open files; no limit where the text has no such line. */
export function openFilesOf(limits: string): OpenFiles {
  const [, soft = 'unlimited', hard = 'unlimited'] = /^Max open files +(\S+) +(\S+)/m.exec(limits) ?? [];
  const count = (word: string): number => (word === 'unlimited' ? Number.POSITIVE_INFINITY : Number(word));
  return { soft: count(soft), hard: count(hard) };
}

/** The least that a server works with: its roles keep descriptors up to number 200. */
export const fewestOpenFiles = 256;

/** Refuses a start that would fail in the middle for want of descriptors. @throws `LIMIT_OPEN_FILES` */
export function assertOpenFiles(limits: string): void {
  const { hard } = openFilesOf(limits);
  if (hard < fewestOpenFiles)
    throw new KwyreError(
      'LIMIT_OPEN_FILES',
      `this process may have ${hard} files open at a time, and a server needs ${fewestOpenFiles}`,
      'raise the limit: ulimit -Hn 1024, or the entry nofile in /etc/security/limits.conf, or LimitNOFILE= of the unit',
    );
}
