/**
 * What a process does to itself before it becomes a role: privileges, limits, identity, namespace. None can be undone.
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
const ambientRaise = 2;
const ambientClearAll = 4;

/** No set-user-ID program or file capability gives this process anything any more. */
export function setNoNewPrivs(): boolean {
  checked('prctl', prctl(options.setNoNewPrivs, 1, 0, 0, 0));
  return prctl(options.getNoNewPrivs, 0, 0, 0, 0) === 1;
}

/** No core dump, and no other process of the same user may attach or read the memory. Reset by execve. */
export function setUndumpable(): boolean {
  checked('prctl', prctl(options.setDumpable, 0, 0, 0, 0));
  return prctl(options.getDumpable, 0, 0, 0, 0) === 0;
}

/** Dies with its parent; `false` when the parent is gone already. Cleared by a change of user: call it afterwards. */
export function dieWithParent(parent: number): boolean {
  checked('prctl', prctl(options.setDeathSignal, 9, 0, 0, 0));
  return getppid() === parent;
}

export const resources = { fileSize: 1, core: 4, tasks: 6, openFiles: 7 } as const;

/** Sets soft and hard limit and reads both back. */
export function setLimit(resource: number, value: number): boolean {
  const next = new BigUint64Array([BigInt(value), BigInt(value)]);
  const seen = new BigUint64Array(2);
  checked('prlimit', prlimit(0, resource, addressOf(next), null));
  checked('prlimit', prlimit(0, resource, null, addressOf(seen)));
  return seen[0] === next[0] && seen[1] === next[1];
}

/** Lets a descriptor survive execve. */
export function keepAcrossExec(fd: number): void {
  checked('fcntl', fcntl(fd, 2, 0));
}

/** Ends a descriptor's life at the next execve. */
export function closeOnExec(fd: number): void {
  checked('fcntl', fcntl(fd, 2, 1));
}

/** Gives a descriptor another number, close-on-exec; the former one is closed by its owner. */
export function duplicateTo(fd: number, wanted: number): void {
  const got = checked('fcntl', fcntl(fd, 1030, wanted));
  if (got !== wanted) throw new LinuxError('fcntl', 16);
}

/** Enters a network namespace of its own, with no interface up. Needs CAP_SYS_ADMIN. */
export function enterEmptyNetwork(): void {
  checked('unshare', unshareCall(0x40000000));
}

/** Becomes another user and group, with no supplementary group. */
export function becomeUser(uid: number, gid: number): void {
  checked('setgroups', setgroups(0, null));
  checked('setresgid', setresgid(gid, gid, gid));
  checked('setresuid', setresuid(uid, uid, uid));
}

/** Empties the bounding set but for `keep`; as a privileged process only. */
export function dropBoundingSet(keep: readonly number[] = []): void {
  for (let capability = 0; capability < 64; capability += 1) {
    if (keep.includes(capability)) continue;
    if (prctl(options.capabilityBoundDrop, capability, 0, 0, 0) < 0) {
      if (new LinuxError('prctl', lastErrno()).code === 'EINVAL') return; // past the last one that this kernel knows
      throw new LinuxError('prctl', lastErrno());
    }
  }
}

/** Lets the permitted capabilities outlive the next change of user; cleared by execve. */
export function keepCapabilitiesOnce(): void {
  checked('prctl', prctl(options.setKeepCapabilities, 1, 0, 0, 0));
}

/**
 * Puts the kept capabilities aside until the next execve, which gives them back: with CAP_DAC_READ_SEARCH in force the
 * process could read any program, and the kernel would not hide it.
 */
export function restCapabilities(keep: readonly number[]): void {
  setCapabilities(keep, [1, 2]);
}

/** Sets the capabilities of this process: effective 0, permitted 1, inheritable 2; those of 0 to 31 only. */
function setCapabilities(keep: readonly number[], wanted: readonly number[]): void {
  const header = new Uint32Array([0x20080522, 0]);
  const sets = new Uint32Array(6); // the three of capabilities 0 to 31, then of 32 to 63
  for (const capability of keep) for (const set of wanted) sets[set] = (sets[set] ?? 0) | (1 << capability);
  callByName('capset', addressOf(header), addressOf(sets));
}

/** Gives up every capability that the process holds but for `keep`, which also outlive execve. */
export function dropCapabilities(keep: readonly number[] = []): void {
  checked('prctl', prctl(options.ambient, ambientClearAll, 0, 0, 0));
  setCapabilities(keep, [0, 1, 2]);
  for (const capability of keep) checked('prctl', prctl(options.ambient, ambientRaise, capability, 0, 0));
}
