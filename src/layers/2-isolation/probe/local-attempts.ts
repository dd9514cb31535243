/**
 * Attempts on the machine itself from inside a role's jail: other socket families, processes, files, the kernel.
 *
 * Promise: attempts do no harm even if they succeed: they use null arguments, signal 0, or a file that is removed at
 *          once.
 * Trust:   `run` is attacker code. `src/probe/main.ts` calls it inside a jail; every other process reads only the
 *          names.
 * Proof:   test/attacks/2-locks.test.ts, test/e2e/prove.test.ts, test/unit/cli/attempt.test.ts
 * @module
 */
import { closeSync, openSync, readFileSync, unlinkSync } from 'node:fs';
import { addressOf, callByName as call } from '../../../linux/syscalls.ts';
import type { Role } from '../../../policy/roles.ts';
import type { Attempt } from './egress-attempts.ts';

const socket = (family: number, type: number, protocol: number) => (): number => call('socket', family, type, protocol);
const names = { program: Buffer.from('/nowhere/kwyre-probe\0'), file: Buffer.from('kwyre-probe\0') } as const;

function createFile(path: string): void {
  closeSync(openSync(path, 'wx', 0o600));
  unlinkSync(path);
}

/** Tries to create a child process; if that succeeds, the child exits at once. */
function duplicate(make: () => number): void {
  if (make() === 0) call('exit_group', 0);
}

/** The watchdog's work requires reading every process's /proc files. */
const reader: readonly Role[] = ['watchdog'];

/** Every attempt besides egress, by the id that a probe request names. */
export const localAttempts = {
  raw: { ids: 'L2-04', title: 'a raw socket', run: socket(2, 3, 1) },
  ping: { ids: 'L2-04', title: 'ICMP (ping)', run: socket(2, 2, 1) },
  packet: { ids: 'L2-04', title: 'a packet socket', run: socket(17, 3, 0x300) },
  netlink: { ids: 'L2-04', title: 'a netlink socket', run: socket(16, 3, 0) },
  vsock: { ids: 'L2-04', title: 'vsock to the hypervisor', run: socket(40, 1, 0) },
  mptcp: { ids: 'L2-04', title: 'Multipath TCP', run: socket(2, 1, 262) },
  sctp: { ids: 'L2-04', title: 'SCTP', run: socket(2, 1, 132) },
  xdp: { ids: 'L2-04', title: 'an XDP socket', run: socket(44, 3, 0) },
  bluetooth: { ids: 'L2-04', title: 'Bluetooth', run: socket(31, 3, 1) },
  alg: { ids: 'L2-04', title: 'the kernel crypto API (AF_ALG)', run: socket(38, 5, 0) },
  socketpair: {
    ids: 'L2-06',
    title: 'a new socket pair',
    run: () => call('socketpair', 1, 1, 0, addressOf(new Int32Array(2))),
  },
  'io-uring': {
    ids: 'L2-04',
    title: 'an io_uring ring, which bypasses seccomp',
    run: () => call('io_uring_setup', 8, addressOf(Buffer.alloc(256))),
  },
  'io-uring-enter': {
    ids: 'L2-04',
    title: 'submitting to an io_uring ring',
    run: () => call('io_uring_enter', 0, 1, 0, 0, 0, 0),
  },
  fork: {
    ids: 'L2-07',
    title: 'a child process (fork)',
    run: () => {
      duplicate(() => call('fork'));
    },
  },
  clone: {
    ids: 'L2-07',
    title: 'a child process (clone)',
    run: () => {
      duplicate(() => call('clone', 17, 0, 0, 0, 0));
    },
  },
  exec: { ids: 'L2-07', title: 'executing another program', run: () => call('execve', addressOf(names.program), 0, 0) },
  'memory-file': {
    ids: 'L2-07',
    title: 'a memfd to execute from',
    run: () => call('memfd_create', addressOf(names.file), 0),
  },
  setuid: { ids: 'L2-07', title: 'becoming root', run: () => call('setuid', 0) },
  ptrace: { ids: '', title: 'attaching a debugger to the parent', run: () => call('ptrace', 16, process.ppid, 0, 0) },
  'read-memory': {
    ids: '',
    title: "reading the parent's memory",
    run: () => call('process_vm_readv', process.ppid, 0, 0, 0, 0, 0),
  },
  'open-memory': {
    ids: '',
    title: "opening the parent's memory",
    allowedFor: reader,
    run: () => {
      closeSync(openSync(`/proc/${process.ppid}/mem`, 'r'));
    },
  },
  'take-descriptor': {
    ids: '',
    title: "taking the parent's descriptors",
    run: () => call('pidfd_open', process.ppid, 0),
  },
  signal: { ids: '', title: 'a signal to the parent', run: () => call('kill', process.ppid, 0) },
  'user-namespace': { ids: '', title: 'a new user namespace', run: () => call('unshare', 0x10000000) },
  'join-namespace': { ids: '', title: 'joining another namespace', run: () => call('setns', 0, 0) },
  mount: { ids: '', title: 'mounting a file system', run: () => call('mount', 0, 0, 0, 0, 0) },
  chroot: { ids: '', title: 'chroot', run: () => call('chroot', 0) },
  bpf: { ids: '', title: 'code in the kernel (bpf)', run: () => call('bpf', 0, 0, 0) },
  perf: { ids: '', title: 'perf events', run: () => call('perf_event_open', 0, 0, 0, 0, 0) },
  userfaultfd: { ids: '', title: 'userfaultfd', run: () => call('userfaultfd', 0) },
  keys: { ids: '', title: 'kernel keyrings', run: () => call('keyctl', 0, 0, 0, 0, 0) },
  module: { ids: '', title: 'loading a kernel module', run: () => call('init_module', 0, 0, 0) },
  'read-file': {
    ids: '',
    title: 'reading a file outside the policy',
    allowedFor: reader,
    run: () => readFileSync('/etc/passwd'),
  },
  'write-tmp': {
    ids: 'L5-20',
    title: 'a file in /tmp',
    run: () => {
      createFile(`/tmp/kwyre-probe-${process.pid}`);
    },
  },
  'write-shm': {
    ids: 'L5-20',
    title: 'a file in /dev/shm',
    run: () => {
      createFile(`/dev/shm/kwyre-probe-${process.pid}`);
    },
  },
} as const satisfies Readonly<Record<string, Attempt>>;

/** Ids of the local attempts that must fail in a role. */
export function localAttemptsOf(role: Role): string[] {
  return Object.entries<Attempt>(localAttempts)
    .filter(([, attempt]) => attempt.allowedFor?.includes(role) !== true)
    .map(([id]) => id);
}
