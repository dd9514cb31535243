/**
 * Memory that looks like a file and can be sealed: after the seal nobody, not even we, can change a byte of it. And
 * read leases: the kernel's word that nobody has a file open for writing.
 *
 * Source: memfd_create(2), fcntl(2) "File Sealing" and "Leases"
 * Proof:  test/unit/linux/memfd.test.ts
 * @module
 */
import { fchmodSync, writeSync } from 'node:fs';
import { checked, lastErrno, libc, LinuxError } from '../ffi.ts';

const cMemfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)') as (
  name: string,
  flags: number,
) => number;
// fcntl is variadic; on Linux's x86-64 and arm64 an int argument travels the same way.
const cFcntl = libc.func('int fcntl(int fd, int command, int argument)') as (
  fd: number,
  command: number,
  argument: number,
) => number;

const cFtruncate = libc.func('int ftruncate(int fd, int64_t length)') as (fd: number, length: number) => number;
const cLseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)') as (
  fd: number,
  offset: number,
  whence: number,
) => number | bigint;

const memfdFlags = { closeOnExec: 1, allowSealing: 2, noExecute: 8, execute: 16 } as const;
const addSeals = 1033;
const getSeals = 1034;
const setLease = 1024;
const getLease = 1025;
const readLease = 0;
const noLease = 2;

/** What a seal forbids. */
export const seals = { seal: 1, shrink: 2, grow: 4, write: 8, futureWrite: 16, execute: 32 } as const;
const allSeals = seals.seal | seals.shrink | seals.grow | seals.write;
const invalidArgument = 22;
const tryAgain = 11;

/**
 * Empty memory behind a close-on-exec descriptor, never executable where the kernel can promise that. @throws
 * LinuxError
 */
export function makeMemfd(name: string): number {
  const base = memfdFlags.closeOnExec | memfdFlags.allowSealing;
  const fd = cMemfdCreate(name, base | memfdFlags.noExecute);
  if (fd >= 0 || lastErrno() !== invalidArgument) return checked('memfd_create', fd);
  return checked('memfd_create', cMemfdCreate(name, base)); // Linux before 6.3
}

/** Seals content and size for good and reads the seals back. @throws LinuxError */
export function sealMemfd(fd: number): void {
  checked('fcntl(F_ADD_SEALS)', cFcntl(fd, addSeals, allSeals));
  if ((sealsOf(fd) & allSeals) !== allSeals) throw new LinuxError('fcntl(F_GET_SEALS)', invalidArgument);
}

/** Bytes in sealed memory, behind a close-on-exec descriptor. @throws LinuxError */
export function sealedBytes(name: string, bytes: Uint8Array, mode?: number): number {
  const fd = makeMemfd(name);
  if (mode !== undefined) fchmodSync(fd, mode);
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, at);
  sealMemfd(fd);
  return fd;
}

/**
 * Whoever runs it may not read it: the kernel then hides the process from its own user from the first instruction on.
 */
const runOnly = 0o111;

/**
 * Empty memory for a program that can be run and not be read, behind a close-on-exec descriptor; fill it, then
 * `sealProgram`.
 * @throws LinuxError `EACCES` where `vm.memfd_noexec=2` forbids it
 */
export function makeProgram(name: string): number {
  const base = memfdFlags.closeOnExec | memfdFlags.allowSealing;
  let fd = cMemfdCreate(name, base | memfdFlags.execute);
  if (fd < 0 && lastErrno() === invalidArgument) fd = cMemfdCreate(name, base); // Linux before 6.3
  checked('memfd_create', fd);
  fchmodSync(fd, runOnly);
  return fd;
}

/** Seals a program: its bytes, its size, and where the kernel can (Linux 6.3) that it can be run. @throws LinuxError */
export function sealProgram(fd: number): void {
  const most = allSeals | seals.futureWrite | seals.execute;
  if (cFcntl(fd, addSeals, most) < 0) {
    if (lastErrno() !== invalidArgument) throw new LinuxError('fcntl(F_ADD_SEALS)', lastErrno());
    checked('fcntl(F_ADD_SEALS)', cFcntl(fd, addSeals, allSeals));
  }
  if ((sealsOf(fd) & allSeals) !== allSeals) throw new LinuxError('fcntl(F_GET_SEALS)', invalidArgument);
}

/**
 * Memory of a size that nobody can change, with nothing in it yet: pages come as they are touched. @throws LinuxError
 */
export function makeFixedMemory(name: string, bytes: number): number {
  const fd = makeMemfd(name);
  checked('ftruncate', cFtruncate(fd, bytes));
  checked('fcntl(F_ADD_SEALS)', cFcntl(fd, addSeals, seals.seal | seals.shrink | seals.grow));
  return fd;
}

const seekData = 3;
const seekHole = 4;
const nothingThere = 6; // ENXIO

/** The parts of a file or of memory that have content, in order. @throws LinuxError */
export function* contentOf(fd: number): Generator<{ readonly at: number; readonly bytes: number }> {
  for (let from = 0; ;) {
    const at = Number(cLseek(fd, from, seekData));
    if (at < 0 && lastErrno() === nothingThere) return;
    checked('lseek', at);
    from = checked('lseek', Number(cLseek(fd, at, seekHole)));
    yield { at, bytes: from - at };
  }
}

/** The seals of a descriptor. @throws LinuxError when it has none to speak of (not a memfd) */
export function sealsOf(fd: number): number {
  return checked('fcntl(F_GET_SEALS)', cFcntl(fd, getSeals, 0));
}

/** What came of asking for a read lease. */
export type Lease = 'held' | 'writer' | { readonly refused: string };

/**
 * Takes a read lease: granted only while nobody has the file open for writing or mapped writable. Whoever opens it for
 * writing later is held up and this process gets SIGIO. The lease lives as long as the open file description.
 */
export function takeReadLease(fd: number): Lease {
  if (cFcntl(fd, setLease, readLease) === 0) return 'held';
  const error = new LinuxError('fcntl(F_SETLEASE)', lastErrno());
  return error.errno === tryAgain ? 'writer' : { refused: error.code };
}

/** Whether the lease still stands (a writer that waits shows as broken). */
export function leaseHolds(fd: number): boolean {
  return cFcntl(fd, getLease, 0) === readLease;
}

/** Gives a lease back. */
export function dropLease(fd: number): void {
  cFcntl(fd, setLease, noLease);
}

const cPrctl = libc.func(
  'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
) as (option: number, a: number, b: number, c: number, d: number) => number;
const setDumpable = 4;
const getDumpable = 3;
const dumpableByOwner = 1;

/**
 * Closes `/proc/PID/fd` and `mem` of this process to other processes of the same user: nobody reaches memory before its
 * seal.
 */
export function hideProcess(): void {
  checked('prctl(PR_SET_DUMPABLE)', cPrctl(setDumpable, 0, 0, 0, 0));
}

/** Whether other processes of the same user may look into this one now. @throws LinuxError */
export function isDumpable(): boolean {
  return checked('prctl(PR_GET_DUMPABLE)', cPrctl(getDumpable, 0, 0, 0, 0)) === dumpableByOwner;
}
