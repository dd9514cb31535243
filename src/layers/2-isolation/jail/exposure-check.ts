/**
 * Checks, in the first lines of a process and before it opens anything secret, that no other process can read its
 * memory.
 *
 * A process whose user cannot read its executable is non-dumpable from its first instruction. With only
 * `PR_SET_DUMPABLE`, there is a window in which another of the user's programs can open the process's memory and keep
 * it open. `/proc/self` of a non-dumpable process belongs to root, so the difference is visible without native code.
 *
 * Limits:  for uid 0 both cases look the same; `isDumpable` distinguishes them once native code is loaded.
 * Source:  proc(5), prctl(2) PR_SET_DUMPABLE, execve(2)
 * Proof:   test/attacks/6-window.test.ts
 * @module
 */
import { statusField } from '../../../linux/procfs/task-status.ts';
import type * as fs from 'node:fs';
import { KwyreError } from '../../../base/errors.ts';

/** The `node:fs` functions that are used here. */
type OwnDisk = Pick<typeof fs, 'readFileSync' | 'statSync'>;

/** Refuses to start under a tracer, because the tracer would stay attached across execve. @throws `L6_TRACED` */
export function assertUntraced(disk: OwnDisk): void {
  const tracer = statusField(disk.readFileSync('/proc/self/status', 'latin1'), 'TracerPid') || '?';
  if (tracer !== '0')
    throw new KwyreError(
      'L6_TRACED',
      `pid ${tracer} traces this process`,
      'stop the debugger or tracer and start again',
    );
}

/** Refuses to start under a kernel setting that makes unreadable programs dumpable. @throws `L2_SUID_DUMPABLE` */
export function assertDumpSetting(disk: OwnDisk): void {
  let text: string;
  try {
    text = disk.readFileSync('/proc/sys/fs/suid_dumpable', 'latin1');
  } catch {
    return; // hidden by a jail; `assertHidden` detects the effect of the setting
  }
  if (text.trim() === '1')
    throw new KwyreError(
      'L2_SUID_DUMPABLE',
      'fs.suid_dumpable is 1: users can read the memory of programs whose files they cannot read',
      'as root: sysctl fs.suid_dumpable=0',
    );
}

/**
 * Refuses to start as an ordinary user if another of that user's programs can open this process's memory.
 * @throws `L2_PROCESS_VISIBLE`
 */
export function assertHidden(disk: OwnDisk, uid: number): void {
  if (uid !== 0 && disk.statSync('/proc/self/status').uid === uid)
    throw new KwyreError(
      'L2_PROCESS_VISIBLE',
      'other programs of this user can read the memory of this process',
      'start with ./kwyre serve',
    );
}
