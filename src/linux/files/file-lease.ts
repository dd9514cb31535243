/**
 * Read leases: the kernel reports when another process opens the file for writing.
 *
 * Source: fcntl(2) "Leases"
 * Proof:  test/unit/linux/memfd.test.ts
 * @module
 */
import { lastErrno, libc, LinuxError } from '../ffi.ts';

// fcntl is variadic; on x86-64 and arm64 Linux passes a variadic int like any other.
const cFcntl = libc.func('int fcntl(int fd, int command, int argument)') as (
  fd: number,
  command: number,
  argument: number,
) => number;

const setLease = 1024;
const getLease = 1025;
const readLease = 0;
const noLease = 2;
const EAGAIN = 11;

/** The result of requesting a read lease; `writer` if another process has the file open for writing. */
type Lease = 'held' | 'writer' | { readonly refused: string };

/**
 * Takes a read lease, which the kernel grants only while no process has the file open for writing or mapped writable.
 * If a process later opens the file for writing, that process blocks, and this one gets SIGIO. The lease lasts as long
 * as the open file description.
 */
export function takeReadLease(fd: number): Lease {
  if (cFcntl(fd, setLease, readLease) === 0) return 'held';
  const error = new LinuxError('fcntl(F_SETLEASE)', lastErrno());
  return error.errno === EAGAIN ? 'writer' : { refused: error.code };
}

/** Returns whether the lease is in force; it is not while a writer is waiting. */
export function leaseHolds(fd: number): boolean {
  return cFcntl(fd, getLease, 0) === readLease;
}

/** Releases a lease. @internal */
export function dropLease(fd: number): void {
  cFcntl(fd, setLease, noLease);
}
