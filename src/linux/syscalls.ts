/**
 * Raw system calls by name.
 *
 * Source: syscall(2)
 * @module
 */
import { arch } from 'node:process';
import { checked, ffi, libc, LinuxError } from './ffi.ts';
import { arm64Calls } from './syscalls-arm64.ts';
import { x64Calls } from './syscalls-x64.ts';

const cSyscall = libc.func('long syscall(long number, long a, long b, long c, long d, long e, long f)') as (
  number: number,
  ...args: (number | bigint)[]
) => number | bigint;

/** System call numbers by architecture. */
export const systemCalls = { x64: x64Calls, arm64: arm64Calls } as const;

/** The architecture of this process. */
export const hostArchitecture = arch === 'arm64' ? 'arm64' : 'x64';

const ENOSYS = 38;

/**
 * Makes a system call by name, with up to six arguments.
 * @throws LinuxError, `ENOSYS` if this architecture has no call of that name
 */
export function callByName(name: string, ...args: (number | bigint)[]): number {
  const number = systemCalls[hostArchitecture][name];
  if (number === undefined) throw new LinuxError(name, ENOSYS);
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = args;
  return checked(name, Number(cSyscall(number, a, b, c, d, e, f)));
}

/** Returns the address of a buffer. Keep the buffer alive while the kernel uses the address. */
export function addressOf(bytes: ArrayBufferView): bigint {
  return ffi.address(bytes);
}
