/**
 * Checks, using only the kernel's tables, that the process named in a presence file is the server that wrote it.
 *
 * Promise: parses no text that another user can choose, only numbers in fixed columns of `/proc/locks`,
 *          `/proc/PID/stat` and `/proc/net/tcp`. A fact that cannot be checked never counts as true.
 * Limits:  another of the user's programs can take over the state folder and its lock, and write anything there.
 * Source:  proc_locks(5), proc_pid_stat(5), proc_pid_net(5)
 * Proof:   test/unit/state/server-witness.test.ts, test/attacks/1-server.test.ts
 * @module
 */
import { lstatSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { loopbackListener } from '../linux/procfs/net-tables.ts';
import { parseStat } from '../linux/procfs/task-stat.ts';
import type { Presence, Witness } from './presence.ts';
import { readBootId } from './violation-marker.ts';

/** Name of the lock in the state folder, which a server holds for as long as it runs. */
export const lockName = 'lock';

/** The result of a check. Trust a server only if it is `verified`. `dead` is certain. */
type ServerCheck =
  | { readonly kind: 'verified' }
  | { readonly kind: 'dead' }
  /**
   * A process other than the one in the presence file holds the lock: a server that is starting, or another program.
   */
  | { readonly kind: 'starting'; readonly pid: number }
  | { readonly kind: 'foreign' | 'unknown'; readonly reason: string };

/**
 * Returns the pids of the processes that hold an exclusive lock on a file, from the text of `/proc/locks`.
 * @internal
 */
export function lockHolders(locks: string, inode: number): number[] {
  return locks.split('\n').flatMap((line) => {
    const [, pid, file] = /^\d+: (?:FLOCK|POSIX) +ADVISORY +WRITE +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? [];
    return pid !== undefined && Number(file) === inode ? [Number(pid)] : [];
  });
}

/** Returns `device:inode` of a process's executable; `undefined` if this user may not see it. */
function executableOf(pid: number | 'self'): string | undefined {
  try {
    const facts = statSync(`/proc/${pid}/exe`);
    return `${facts.dev}:${facts.ino}`;
  } catch {
    return undefined;
  }
}

/**
 * Describes this process, for its presence file.
 * @param listener - inode of the listening socket
 */
export function makeWitness(directory: string, listener: number): Witness {
  return {
    boot: readBootId(),
    pids: readlinkSync('/proc/self/ns/pid'),
    started: parseStat(readFileSync('/proc/self/stat', 'latin1'))?.started ?? 0,
    lock: lstatSync(join(directory, lockName)).ino,
    listener,
    executable: executableOf('self') ?? '',
  };
}

/**
 * Checks that the process is still the server that wrote the witness.
 * @returns the difference; `undefined` if there is none
 */
function findDifference(pid: number, witness: Witness, uid: number): string | undefined {
  let started: number | undefined;
  try {
    started = parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.started;
  } catch {
    return undefined; // hidepid: only the lock shows that it is running
  }
  if (started !== witness.started) return `process ${pid} was started at another time`;
  const executable = executableOf(pid);
  // The `/proc` files of a process that is not dumpable belong to root, although its folder does not. As with the
  // server itself, none of the user's other programs can inspect such a process.
  if (executable === undefined)
    return uid === 0 || lstatSync(`/proc/${pid}/stat`).uid === uid
      ? `the executable of process ${pid} cannot be seen`
      : undefined;
  return executable === witness.executable ? undefined : `process ${pid} runs another program`;
}

/**
 * Checks the server that a presence file describes.
 * @param uid - the calling user, who must own the server
 */
export function checkServer(directory: string, presence: Presence, uid: number): ServerCheck {
  const { witness, pid, port } = presence;
  const lock = lstatSync(join(directory, lockName), { throwIfNoEntry: false });
  const locks = readFileSync('/proc/locks', 'latin1');
  const holders = lock === undefined ? [] : lockHolders(locks, lock.ino);
  const [holder] = holders;
  const others: ServerCheck = holder === undefined ? { kind: 'dead' } : { kind: 'starting', pid: holder };
  if (witness === undefined || lock?.ino !== witness.lock || witness.boot !== readBootId()) return others;
  if (witness.pids !== readlinkSync('/proc/self/ns/pid'))
    return { kind: 'unknown', reason: 'the server runs in another pid namespace, so this command cannot verify it' };
  if (!holders.includes(pid)) return others;
  const difference = findDifference(pid, witness, uid);
  if (difference !== undefined) return { kind: 'foreign', reason: difference };
  const row = loopbackListener(port, readFileSync('/proc/self/net/tcp', 'latin1'));
  if (row?.inode === witness.listener) return { kind: 'verified' };
  return row === undefined
    ? {
        kind: 'unknown',
        reason: `nothing listens on 127.0.0.1:${port} in this network namespace; the server runs in another one`,
      }
    : { kind: 'foreign', reason: `the listener on 127.0.0.1:${port} is not the socket of the server` };
}
