/**
 * Whether somebody may look into this process, asked at its first line: before it has opened anything that is to be
 * hidden.
 *
 * The kernel hides a process from its own user when it runs a program that this user cannot read, from its first
 * instruction on; `PR_SET_DUMPABLE` alone leaves a time before it, in which another program of the user opens its
 * memory and keeps it. `/proc` belongs to root then, which is how it is seen here without native code.
 *
 * Limits:  a process of root's own uid looks the same either way: `isDumpable` tells, once native code is loaded.
 * Source:  proc(5), prctl(2) PR_SET_DUMPABLE, execve(2)
 * Proof:   test/attacks/6-window.test.ts
 * @module
 */
import { statusField } from '../../../linux/procfs/task-status.ts';
import type * as fs from 'node:fs';
import { KwyreError } from '../../../base/errors.ts';

/** The calls that are needed, from `node:fs`. */
export type OwnDisk = Pick<typeof fs, 'readFileSync' | 'statSync'>;

/**
 * Refuses a process that is traced, whoever traces it: a tracer from before the start survives it. @throws `L6_TRACED`
 */
export function assertUntraced(disk: OwnDisk): void {
  const tracer = statusField(disk.readFileSync('/proc/self/status', 'latin1'), 'TracerPid') || '?';
  if (tracer !== '0')
    throw new KwyreError(
      'L6_TRACED',
      `this process is traced from its start on (by pid ${tracer})`,
      'end the debugger or tracer, then start again',
    );
}

/** Refuses a kernel that lets programs be read which their user cannot read. @throws `L2_SUID_DUMPABLE` */
export function assertDumpSetting(disk: OwnDisk): void {
  let text: string;
  try {
    text = disk.readFileSync('/proc/sys/fs/suid_dumpable', 'latin1');
  } catch {
    return; // hidden by a jail: what follows from it is seen on the process itself
  }
  if (text.trim() === '1')
    throw new KwyreError(
      'L2_SUID_DUMPABLE',
      'fs.suid_dumpable is 1 on this machine: every user may read the memory of programs that they cannot read',
      'sysctl fs.suid_dumpable=0 (or 2)',
    );
}

/**
 * Refuses a process of an ordinary user whose memory another program of that user may open. @throws
 * `L2_PROCESS_VISIBLE`
 */
export function assertHidden(disk: OwnDisk, uid: number): void {
  if (uid !== 0 && disk.statSync('/proc/self/status').uid === uid)
    throw new KwyreError(
      'L2_PROCESS_VISIBLE',
      'this process began where another program of the same user may read its memory',
      'start with ./kwyre serve',
    );
}
