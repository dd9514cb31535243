/**
 * Memory behind a file descriptor, made immutable by file seals: once it is sealed, no process can change it, not even
 * this one.
 *
 * Source: memfd_create(2), fcntl(2) "File Sealing"
 * Proof:  test/unit/linux/memfd.test.ts
 * @module
 */
import { fchmodSync, writeSync } from 'node:fs';
import { checked, lastErrno, libc, LinuxError } from '../ffi.ts';

const cMemfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)') as (
  name: string,
  flags: number,
) => number;
// fcntl is variadic; on x86-64 and arm64 Linux passes a variadic int like any other.
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

/** File seals (F_SEAL_*). @internal */
export const seals = { seal: 1, shrink: 2, grow: 4, write: 8, futureWrite: 16, execute: 32 } as const;
const allSeals = seals.seal | seals.shrink | seals.grow | seals.write;
const invalidArgument = 22;

/** Creates an empty memfd, close-on-exec and, on Linux 6.3 or later, not executable. @throws LinuxError */
export function makeMemfd(name: string): number {
  const base = memfdFlags.closeOnExec | memfdFlags.allowSealing;
  const fd = cMemfdCreate(name, base | memfdFlags.noExecute);
  if (fd >= 0 || lastErrno() !== invalidArgument) return checked('memfd_create', fd);
  return checked('memfd_create', cMemfdCreate(name, base)); // Linux before 6.3
}

/** Seals the content and size, and checks that the seals are in force. @throws LinuxError */
export function sealMemfd(fd: number): void {
  checked('fcntl(F_ADD_SEALS)', cFcntl(fd, addSeals, allSeals));
  if ((sealsOf(fd) & allSeals) !== allSeals) throw new LinuxError('fcntl(F_GET_SEALS)', invalidArgument);
}

/** Creates a sealed memfd with these bytes, close-on-exec. @throws LinuxError */
export function sealedBytes(name: string, bytes: Uint8Array, mode?: number): number {
  const fd = makeMemfd(name);
  if (mode !== undefined) fchmodSync(fd, mode);
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, at);
  sealMemfd(fd);
  return fd;
}

/**
 * Executable but not readable: from its first instruction, the kernel then hides the process from its own user.
 */
const runOnly = 0o111;

/**
 * Creates an empty memfd, close-on-exec, for a program that can be executed but not read. Fill it, then call
 * `sealProgram`.
 * @throws LinuxError, `EACCES` if `vm.memfd_noexec=2` forbids it
 */
export function makeProgram(name: string): number {
  const base = memfdFlags.closeOnExec | memfdFlags.allowSealing;
  let fd = cMemfdCreate(name, base | memfdFlags.execute);
  if (fd < 0 && lastErrno() === invalidArgument) fd = cMemfdCreate(name, base); // Linux before 6.3
  checked('memfd_create', fd);
  fchmodSync(fd, runOnly);
  return fd;
}

/** Seals the content and size of a program and, on Linux 6.3 or later, its execute bits. @throws LinuxError */
export function sealProgram(fd: number): void {
  const most = allSeals | seals.futureWrite | seals.execute;
  if (cFcntl(fd, addSeals, most) < 0) {
    if (lastErrno() !== invalidArgument) throw new LinuxError('fcntl(F_ADD_SEALS)', lastErrno());
    checked('fcntl(F_ADD_SEALS)', cFcntl(fd, addSeals, allSeals));
  }
  if ((sealsOf(fd) & allSeals) !== allSeals) throw new LinuxError('fcntl(F_GET_SEALS)', invalidArgument);
}

/** Creates a memfd of a fixed size, zero-filled; a page is allocated when it is first touched. @throws LinuxError */
export function makeFixedMemory(name: string, bytes: number): number {
  const fd = makeMemfd(name);
  checked('ftruncate', cFtruncate(fd, bytes));
  checked('fcntl(F_ADD_SEALS)', cFcntl(fd, addSeals, seals.seal | seals.shrink | seals.grow));
  return fd;
}

const seekData = 3;
const seekHole = 4;
const ENXIO = 6;

/** Yields the ranges of a file or memfd that hold data, in order; holes are skipped. @throws LinuxError */
export function* contentOf(fd: number): Generator<{ readonly at: number; readonly bytes: number }> {
  for (let from = 0; ;) {
    const at = Number(cLseek(fd, from, seekData));
    if (at < 0 && lastErrno() === ENXIO) return;
    checked('lseek', at);
    from = checked('lseek', Number(cLseek(fd, at, seekHole)));
    yield { at, bytes: from - at };
  }
}

/** Returns the seals of a descriptor. @throws LinuxError if it is not a memfd @internal */
export function sealsOf(fd: number): number {
  return checked('fcntl(F_GET_SEALS)', cFcntl(fd, getSeals, 0));
}
