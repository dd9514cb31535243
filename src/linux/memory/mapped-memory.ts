/**
 * Memory by address: secret (memfd_secret), private or shared mappings, locked, resized and released.
 *
 * Promise: private memory is excluded from core dumps and not inherited by forked processes.
 * Limits:  unmapping does not overwrite memory. The caller, which knows what the memory held, must do that. A view must
 *          not outlive `unmapMemory` or `growMemory`.
 * Source:  memfd_secret(2), mmap(2), mremap(2), mprotect(2), mlock(2), madvise(2)
 * Proof:   test/unit/layers/5-key-arena.test.ts
 * @module
 */
import { checked, ffi, lastErrno, libc, LinuxError } from '../ffi.ts';
import { callByName } from '../syscalls.ts';

/** An address in this process. */
export type Address = bigint;

const cMmap = libc.func(
  'intptr_t mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)',
) as (address: null, length: number, protection: number, flags: number, fd: number, offset: number) => number | bigint;
const cMremap = libc.func('intptr_t mremap(void *address, size_t length, size_t next, int flags)') as (
  address: Address,
  length: number,
  next: number,
  flags: number,
) => number | bigint;
const cMunmap = libc.func('int munmap(void *address, size_t length)') as (address: Address, length: number) => number;
const cMprotect = libc.func('int mprotect(void *address, size_t length, int protection)') as (
  address: Address,
  length: number,
  protection: number,
) => number;
const cMlock = libc.func('int mlock(void *address, size_t length)') as (address: Address, length: number) => number;
const cMunlock = libc.func('int munlock(void *address, size_t length)') as (address: Address, length: number) => number;
const cMadvise = libc.func('int madvise(void *address, size_t length, int advice)') as (
  address: Address,
  length: number,
  advice: number,
) => number;
const cFtruncate = libc.func('int ftruncate(int fd, int64_t length)') as (fd: number, length: number) => number;
const cMemset = libc.func('void *memset(void *address, int value, size_t length)') as (
  address: Address,
  value: number,
  length: number,
) => void;

const protections = { none: 0, readWrite: 3 } as const;
const mapFlags = { shared: 1, private: 2, anonymous: 0x20 } as const;
const advices = { remove: 9, dontFork: 10, huge: 14, dontDump: 16 } as const;
const mayMove = 1;
const closeOnExec = 0o2000000;
/** Minimum size for which 2 MiB huge pages are requested, because page faults cost more than copies. */
const hugeFrom = 4 << 20;

/** Size of a page in bytes. */
export const pageBytes = 4096;

/** Rounds a length up to whole pages. */
export function wholePages(bytes: number): number {
  return Math.ceil(bytes / pageBytes) * pageBytes;
}

function mapped(call: string, result: number | bigint): Address {
  if (BigInt(result) === -1n) throw new LinuxError(call, lastErrno());
  return BigInt.asUintN(64, BigInt(result));
}

/**
 * Creates secret memory and returns its descriptor, close-on-exec. Call it before RLIMIT_FSIZE is lowered.
 * @throws LinuxError
 */
export function makeSecretMemory(bytes: number): number {
  const fd = callByName('memfd_secret', closeOnExec);
  checked('ftruncate', cFtruncate(fd, bytes));
  return fd;
}

/**
 * Maps secret memory. A page leaves the kernel's direct map only when it is first touched. Mapping the memory with
 * PROT_NONE first keeps the kernel from populating all of it at once.
 * @throws LinuxError if RLIMIT_MEMLOCK is too small
 */
export function mapSecretMemory(fd: number, bytes: number): Address {
  const address = mapped('mmap', cMmap(null, bytes, protections.none, mapFlags.shared, fd, 0));
  checked('mprotect', cMprotect(address, bytes, protections.readWrite));
  checked('madvise', cMadvise(address, bytes, advices.dontFork));
  return address;
}

/** Maps private, zero-filled memory of whole pages. @throws LinuxError */
export function mapMemory(bytes: number): Address {
  const address = mapped(
    'mmap',
    cMmap(null, bytes, protections.readWrite, mapFlags.private | mapFlags.anonymous, -1, 0),
  );
  checked('madvise', cMadvise(address, bytes, advices.dontDump));
  checked('madvise', cMadvise(address, bytes, advices.dontFork));
  if (bytes >= hugeFrom) cMadvise(address, bytes, advices.huge); // without huge pages the kernel uses small ones
  return address;
}

/** Maps memory that another process also maps; a page is allocated when it is first touched. @throws LinuxError */
export function mapSharedMemory(fd: number, bytes: number): Address {
  const address = mapped('mmap', cMmap(null, bytes, protections.readWrite, mapFlags.shared, fd, 0));
  checked('madvise', cMadvise(address, bytes, advices.dontDump));
  checked('madvise', cMadvise(address, bytes, advices.dontFork));
  return address;
}

/**
 * Releases whole pages of shared memory to the kernel; they are zero when they are touched again.
 * @throws LinuxError if they are locked
 */
export function returnMemory(address: Address, bytes: number): void {
  checked('madvise', cMadvise(address, bytes, advices.remove));
}

/** Extends private memory and returns its new address; a move leaves no copy behind. @throws LinuxError */
export function growMemory(address: Address, bytes: number, next: number): Address {
  return mapped('mremap', cMremap(address, bytes, next, mayMove));
}

/** Unmaps memory without overwriting it. @throws LinuxError */
export function unmapMemory(address: Address, bytes: number): void {
  checked('munmap', cMunmap(address, bytes));
}

/** Locks memory against swap; returns `false` if RLIMIT_MEMLOCK is too small. */
export function lockMemory(address: Address, bytes: number): boolean {
  return cMlock(address, bytes) === 0;
}

/** Unlocks memory. @throws LinuxError */
export function unlockMemory(address: Address, bytes: number): void {
  checked('munlock', cMunlock(address, bytes));
}

/** Overwrites memory with one value. */
export function fillMemory(address: Address, bytes: number, value = 0): void {
  cMemset(address, value, bytes);
}

/** Returns the bytes at an address as an array buffer, without a copy. */
export function arrayBufferAt(address: Address, bytes: number): ArrayBuffer {
  return ffi.view(address, bytes);
}

/** Returns the bytes at an address, without a copy. */
export function viewMemory(address: Address, bytes: number): Buffer {
  return Buffer.from(arrayBufferAt(address, bytes));
}
