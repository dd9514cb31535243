/**
 * An exclusive lock on a file. The kernel releases it when this process ends, however it ends.
 *
 * Source: flock(2)
 * @module
 */
import { closeSync, constants, openSync } from 'node:fs';
import { libc } from '../ffi.ts';

const flock = libc.func('int flock(int fd, int operation)') as (fd: number, operation: number) => number;
const exclusiveNonBlocking = 2 | 4;

/** Takes the lock for the lifetime of this process; returns `false` if another process holds it. */
export function lockFile(path: string): boolean {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  if (flock(fd, exclusiveNonBlocking) === 0) return true;
  closeSync(fd);
  return false;
}
