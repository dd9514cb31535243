/**
 * `/proc/PID/limits`: a process's limit on open files.
 *
 * Source: proc_pid_limits(5)
 * Proof:  test/unit/linux/limits.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';

/** Soft and hard limit; `Infinity` for unlimited. */
type OpenFiles = { readonly soft: number; readonly hard: number };

/** Returns the limit on open files; unlimited if the text has no such line. */
export function openFilesOf(limits: string): OpenFiles {
  const [, soft = 'unlimited', hard = 'unlimited'] = /^Max open files +(\S+) +(\S+)/m.exec(limits) ?? [];
  const count = (word: string): number => (word === 'unlimited' ? Number.POSITIVE_INFINITY : Number(word));
  return { soft: count(soft), hard: count(hard) };
}

/** The lowest limit under which a server works: its roles use descriptor numbers up to 200. */
const fewestOpenFiles = 256;

/** Fails early if the server would run out of descriptors. @throws `LIMIT_OPEN_FILES` */
export function assertOpenFiles(limits: string): void {
  const { hard } = openFilesOf(limits);
  if (hard < fewestOpenFiles)
    throw new KwyreError(
      'LIMIT_OPEN_FILES',
      `the limit on open files is ${hard}; a server needs at least ${fewestOpenFiles}`,
      'raise it: ulimit -Hn 1024, nofile in /etc/security/limits.conf, or LimitNOFILE= in the systemd unit',
    );
}
