/**
 * Irrevocably restricts this process's privileges, limits, identity and network namespace before a role starts.
 *
 * Source: prctl(2), prlimit(2), capabilities(7), setresuid(2), unshare(2), fcntl(2)
 * @module
 */
import { checked, lastErrno, libc, LinuxError } from './ffi.ts';
import { addressOf, callByName } from './syscalls.ts';

const prctl = libc.func(
  'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
) as (option: number, a: number, b: number, c: number, d: number) => number;
const prlimit = libc.func('int prlimit(int pid, int resource, void *next, void *old)') as (
  pid: number,
  resource: number,
  next: bigint | null,
  old: bigint | null,
) => number;
const fcntl = libc.func('int fcntl(int fd, int command, int argument)') as (
  fd: number,
  command: number,
  argument: number,
) => number;
const getppid = libc.func('int getppid()') as () => number;
const unshareCall = libc.func('int unshare(int flags)') as (flags: number) => number;
const setgroups = libc.func('int setgroups(size_t size, void *list)') as (size: number, list: null) => number;
const setresgid = libc.func('int setresgid(unsigned int r, unsigned int e, unsigned int s)') as (
  r: number,
  e: number,
  s: number,
) => number;
const setresuid = libc.func('int setresuid(unsigned int r, unsigned int e, unsigned int s)') as (
  r: number,
  e: number,
  s: number,
) => number;
const options = {
  setDumpable: 4,
  getDumpable: 3,
  setDeathSignal: 1,
  capabilityBoundDrop: 24,
  setNoNewPrivs: 38,
  getNoNewPrivs: 39,
  setKeepCapabilities: 8,
  ambient: 47,
} as const;
const dumpableByOwner = 1;
const ambientRaise = 2;
const ambientClearAll = 4;
const setDescriptorFlags = 2;
const duplicateCloseOnExec = 1030;
const newNetwork = 0x40000000;
const EBUSY = 16;

/** Sets no_new_privs: from then on, execve grants no privileges. Returns whether it is in force. */
export function setNoNewPrivs(): boolean {
  checked('prctl', prctl(options.setNoNewPrivs, 1, 0, 0, 0));
  return prctl(options.getNoNewPrivs, 0, 0, 0, 0) === 1;
}

/**
 * Disables core dumps, and prevents other processes of the same user from attaching to this one or reading its memory.
 * execve resets this. Returns whether it is in force.
 */
export function setUndumpable(): boolean {
  checked('prctl', prctl(options.setDumpable, 0, 0, 0, 0));
  return prctl(options.getDumpable, 0, 0, 0, 0) === 0;
}

/** Returns whether other processes of the same user may attach to this one now. @throws LinuxError */
export function isDumpable(): boolean {
  return checked('prctl', prctl(options.getDumpable, 0, 0, 0, 0)) === dumpableByOwner;
}

/**
 * Requests SIGKILL when the parent exits; returns `false` if it has already exited. Changing the user clears the
 * request, so call this afterwards.
 */
export function dieWithParent(parent: number): boolean {
  checked('prctl', prctl(options.setDeathSignal, 9, 0, 0, 0));
  return getppid() === parent;
}

/** Resource numbers for prlimit. */
export const resources = { fileSize: 1, core: 4, tasks: 6, openFiles: 7 } as const;

/** Sets the soft and the hard limit; returns whether both are in force. */
export function setLimit(resource: number, value: number): boolean {
  const next = new BigUint64Array([BigInt(value), BigInt(value)]);
  const seen = new BigUint64Array(2);
  checked('prlimit', prlimit(0, resource, addressOf(next), null));
  checked('prlimit', prlimit(0, resource, null, addressOf(seen)));
  return seen[0] === next[0] && seen[1] === next[1];
}

/** Clears the close-on-exec flag of a descriptor. */
export function keepAcrossExec(fd: number): void {
  checked('fcntl', fcntl(fd, setDescriptorFlags, 0));
}

/** Sets the close-on-exec flag of a descriptor. */
export function closeOnExec(fd: number): void {
  checked('fcntl', fcntl(fd, setDescriptorFlags, 1));
}

/**
 * Duplicates a descriptor to a given number, close-on-exec.
 * @throws LinuxError, `EBUSY` if the number is in use
 */
export function duplicateTo(fd: number, number: number): void {
  if (checked('fcntl', fcntl(fd, duplicateCloseOnExec, number)) !== number) throw new LinuxError('fcntl', EBUSY);
}

/** Enters a new network namespace, where no interface is up. Needs CAP_SYS_ADMIN. */
export function enterEmptyNetwork(): void {
  checked('unshare', unshareCall(newNetwork));
}

/** Changes the user and group, and drops every supplementary group. */
export function becomeUser(uid: number, gid: number): void {
  checked('setgroups', setgroups(0, null));
  checked('setresgid', setresgid(gid, gid, gid));
  checked('setresuid', setresuid(uid, uid, uid));
}

/** Empties the capability bounding set except for `keep`. Needs CAP_SETPCAP. */
export function dropBoundingSet(keep: readonly number[] = []): void {
  for (let capability = 0; capability < 64; capability += 1) {
    if (keep.includes(capability)) continue;
    if (prctl(options.capabilityBoundDrop, capability, 0, 0, 0) < 0) {
      if (new LinuxError('prctl', lastErrno()).code === 'EINVAL') return; // the kernel has no higher capability
      throw new LinuxError('prctl', lastErrno());
    }
  }
}

/** Keeps the permitted capabilities when the user is next changed; execve clears the setting. */
export function keepCapabilitiesOnce(): void {
  checked('prctl', prctl(options.setKeepCapabilities, 1, 0, 0, 0));
}

/**
 * Removes the capabilities from the effective set until the next execve, which restores them. With CAP_DAC_READ_SEARCH
 * in effect, the process could read any program, even its own executable, so the kernel would not hide the process.
 */
export function restCapabilities(keep: readonly number[]): void {
  setCapabilities(keep, [1, 2]);
}

/** Sets the effective (0), permitted (1) and inheritable (2) sets; capabilities 0 to 31 only. */
function setCapabilities(keep: readonly number[], inSets: readonly number[]): void {
  const header = new Uint32Array([0x20080522, 0]);
  const sets = new Uint32Array(6); // three sets of capabilities 0 to 31, then of 32 to 63
  for (const capability of keep) for (const set of inSets) sets[set] = (sets[set] ?? 0) | (1 << capability);
  callByName('capset', addressOf(header), addressOf(sets));
}

/** Drops every capability of this process except those in `keep`, which also survive execve. */
export function dropCapabilities(keep: readonly number[] = []): void {
  checked('prctl', prctl(options.ambient, ambientClearAll, 0, 0, 0));
  setCapabilities(keep, [0, 1, 2]);
  for (const capability of keep) checked('prctl', prctl(options.ambient, ambientRaise, capability, 0, 0));
}
