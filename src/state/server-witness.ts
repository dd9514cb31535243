/**
 * Whether the process that a presence file names is the server that wrote it, by the kernel's tables alone.
 *
 * Promise: nothing that a stranger can name is parsed: numbers in fixed columns of `/proc/locks`, `/proc/PID/stat` and
 *          `/proc/net/tcp`. What cannot be seen is not taken for a yes.
 * Limits:  a program of the same user that takes over the state folder, lock and all, writes what it likes there.
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

/** Name of the lock in the state folder, which a server holds for its life. */
export const lockName = 'lock';

/** What a command sees; `dead` is certain, `other` and `unseen` are reasons to trust nothing. */
export type Seen =
  | { readonly kind: 'ours' }
  | { readonly kind: 'dead' }
  /**
   * Somebody holds the lock, but not the process of the presence file: a server that is starting, or another program.
   */
  | { readonly kind: 'starting'; readonly pid: number }
  | { readonly kind: 'other' | 'unseen'; readonly what: string };

/** Pids of those who hold an exclusive lock on a file, by its inode, from `/proc/locks`. */
export function lockHolders(locks: string, inode: number): number[] {
  return locks.split('\n').flatMap((line) => {
    const [, pid, file] = /^\d+: (?:FLOCK|POSIX) +ADVISORY +WRITE +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? [];
    return pid !== undefined && Number(file) === inode ? [Number(pid)] : [];
  });
}

/** `device:inode` of the executable of a process; `undefined` where it may not be seen. */
function executableOf(pid: number | 'self'): string | undefined {
  try {
    const facts = statSync(`/proc/${pid}/exe`);
    return `${facts.dev}:${facts.ino}`;
  } catch {
    return undefined;
  }
}

/** What a server writes about itself. */
export function witnessSelf(directory: string, listener: number): Witness {
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
 * The process itself: still the same one, of this user, and hidden from it as ours are or with the executable of ours.
 */
function sameProcess(pid: number, witness: Witness, uid: number): string | undefined {
  let started: number | undefined;
  try {
    started = parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.started;
  } catch {
    return undefined; // hidepid: the lock alone says that it is there
  }
  if (started !== witness.started) return `process ${pid} was started at another time`;
  const executable = executableOf(pid);
  // The files of a process that hid itself belong to root (the folder does not): as ours, no other program of its user
  // can look into it.
  if (executable === undefined)
    return uid === 0 || lstatSync(`/proc/${pid}/stat`).uid === uid
      ? `the executable of process ${pid} cannot be seen`
      : undefined;
  return executable === witness.executable ? undefined : `process ${pid} runs another program`;
}

/** Judges a presence file. `uid`: who asks, and whose server it is. */
export function seeServer(directory: string, presence: Presence, uid: number): Seen {
  const { witness, pid, port } = presence;
  const lock = lstatSync(join(directory, lockName), { throwIfNoEntry: false });
  const locks = readFileSync('/proc/locks', 'latin1');
  const holders = lock === undefined ? [] : lockHolders(locks, lock.ino);
  const [holder] = holders;
  const others: Seen = holder === undefined ? { kind: 'dead' } : { kind: 'starting', pid: holder };
  if (witness === undefined || lock?.ino !== witness.lock || witness.boot !== readBootId()) return others;
  if (witness.pids !== readlinkSync('/proc/self/ns/pid'))
    return {
      kind: 'unseen',
      what: 'the server runs in another pid namespace, where it cannot be told from another program',
    };
  if (!holders.includes(pid)) return others;
  const fault = sameProcess(pid, witness, uid);
  if (fault !== undefined) return { kind: 'other', what: fault };
  const row = loopbackListener(port, readFileSync('/proc/self/net/tcp', 'latin1'));
  if (row?.inode === witness.listener) return { kind: 'ours' };
  return row === undefined
    ? { kind: 'unseen', what: `nothing listens on 127.0.0.1:${port} in this network; the server runs in another one` }
    : { kind: 'other', what: `127.0.0.1:${port} is not the socket of the server` };
}
