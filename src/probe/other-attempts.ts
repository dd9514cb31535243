/**
 * What else an attacker in a role's place would try: other families of sockets, other processes, files, the kernel.
 *
 * Promise: where a lock is missing the deed itself still harms nobody: null arguments, signal 0, a file that is
 *          removed.
 * Proof:   test/attacks/2-locks.test.ts, test/e2e/prove.test.ts
 * @module
 */
import { closeSync, openSync, readFileSync, unlinkSync } from 'node:fs';
import { addressOf, callByName as call } from '../linux/syscalls.ts';

const socket = (family: number, type: number, protocol: number) => (): number => call('socket', family, type, protocol);
const names = { program: Buffer.from('/nowhere/kwyre-probe\0'), file: Buffer.from('kwyre-probe\0') } as const;

function create(path: string): void {
  closeSync(openSync(path, 'wx', 0o600));
  unlinkSync(path);
}

/** A process that was made ends at once. */
function duplicate(make: () => number): void {
  if (make() === 0) call('exit_group', 0);
}

export const deeds: Readonly<Record<string, () => unknown>> = {
  raw: socket(2, 3, 1),
  ping: socket(2, 2, 1),
  packet: socket(17, 3, 0x300),
  netlink: socket(16, 3, 0),
  vsock: socket(40, 1, 0),
  mptcp: socket(2, 1, 262),
  sctp: socket(2, 1, 132),
  xdp: socket(44, 3, 0),
  bluetooth: socket(31, 3, 1),
  alg: socket(38, 5, 0),
  socketpair: () => call('socketpair', 1, 1, 0, addressOf(new Int32Array(2))),
  'io-uring': () => call('io_uring_setup', 8, addressOf(Buffer.alloc(256))),
  'io-uring-enter': () => call('io_uring_enter', 0, 1, 0, 0, 0, 0),
  fork: () => {
    duplicate(() => call('fork'));
  },
  clone: () => {
    duplicate(() => call('clone', 17, 0, 0, 0, 0));
  },
  exec: () => call('execve', addressOf(names.program), 0, 0),
  'memory-file': () => call('memfd_create', addressOf(names.file), 0),
  setuid: () => call('setuid', 0),
  ptrace: () => call('ptrace', 16, process.ppid, 0, 0),
  'read-memory': () => call('process_vm_readv', process.ppid, 0, 0, 0, 0, 0),
  'open-memory': () => {
    closeSync(openSync(`/proc/${process.ppid}/mem`, 'r'));
  },
  'take-descriptor': () => call('pidfd_open', process.ppid, 0),
  signal: () => call('kill', process.ppid, 0),
  'user-namespace': () => call('unshare', 0x10000000),
  'join-namespace': () => call('setns', 0, 0),
  mount: () => call('mount', 0, 0, 0, 0, 0),
  chroot: () => call('chroot', 0),
  bpf: () => call('bpf', 0, 0, 0),
  perf: () => call('perf_event_open', 0, 0, 0, 0, 0),
  userfaultfd: () => call('userfaultfd', 0),
  keys: () => call('keyctl', 0, 0, 0, 0, 0),
  module: () => call('init_module', 0, 0, 0),
  'read-file': () => readFileSync('/etc/passwd'),
  'write-tmp': () => {
    create(`/tmp/kwyre-probe-${process.pid}`);
  },
  'write-shm': () => {
    create(`/dev/shm/kwyre-probe-${process.pid}`);
  },
};
