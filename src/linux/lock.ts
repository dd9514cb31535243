/**
 * An exclusive lock on a file that the kernel gives back when this process ends, however it ends.
 *
 * Source: flock(2)
 * @module
 */
import { closeSync, constants, openSync } from 'node:fs';
import { KwyreError } from '../base/errors.ts';
import { libc } from './ffi.ts';

const flock = libc.func('int flock(int fd, int operation)') as (fd: number, operation: number) => number;
const exclusiveNonBlocking = 2 | 4;

/** Takes the lock for the life of this process; `false` when another process holds it. @throws `STATE_UNWRITABLE` */
export function lockFile(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw new KwyreError('STATE_UNWRITABLE', `cannot open ${path} for writing (${(error as NodeJS.ErrnoException).code ?? 'error'})`, 'it must be a plain file of the user who starts the server, on a disk that takes writing; or choose another folder with --state DIR');
  }
  if (flock(fd, exclusiveNonBlocking) === 0) return true;
  closeSync(fd);
  return false;
}
