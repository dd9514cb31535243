/**
 * What a probe can be told to try besides the ways out, as data: names for people, ids of the attacks, and the roles
 * that may do it.
 *
 * Proof: test/attacks/2-locks.test.ts, test/unit/layers/2-probe-verdict.test.ts
 * @module
 */
import type { Role } from '../../../policy/roles.ts';

export type Trial = {
  /** Ids of the list of attacks; empty where it has none. */
  readonly ids: string;
  readonly title: string;
  /** Roles whose work is just this: their remaining power, never hidden. */
  readonly mayDo?: readonly Role[];
};

const mayLook: readonly Role[] = ['watchdog'];

export const trials = {
  raw: { ids: 'L2-04', title: 'a raw socket' },
  ping: { ids: 'L2-04', title: 'ICMP (ping)' },
  packet: { ids: 'L2-04', title: 'a packet socket' },
  netlink: { ids: 'L2-04', title: 'netlink to the kernel' },
  vsock: { ids: 'L2-04', title: 'vsock to the hypervisor' },
  mptcp: { ids: 'L2-04', title: 'Multipath TCP' },
  sctp: { ids: 'L2-04', title: 'SCTP' },
  xdp: { ids: 'L2-04', title: 'an XDP socket' },
  bluetooth: { ids: 'L2-04', title: 'Bluetooth' },
  alg: { ids: 'L2-04', title: "the kernel's ciphers by socket" },
  socketpair: { ids: 'L2-06', title: 'a new pair of sockets' },
  'io-uring': { ids: 'L2-04', title: 'a ring that walks around the filter' },
  'io-uring-enter': { ids: 'L2-04', title: 'using such a ring' },
  fork: { ids: 'L2-07', title: 'a child process (fork)' },
  clone: { ids: 'L2-07', title: 'a child process (clone)' },
  exec: { ids: 'L2-07', title: 'another program' },
  'memory-file': { ids: 'L2-07', title: 'a program in a memory file' },
  setuid: { ids: 'L2-07', title: 'becoming root' },
  ptrace: { ids: '', title: 'a debugger on the parent' },
  'read-memory': { ids: '', title: "reading the parent's memory" },
  'open-memory': { ids: '', title: "opening the parent's memory", mayDo: mayLook },
  'take-descriptor': { ids: '', title: "taking the parent's descriptors" },
  signal: { ids: '', title: 'a signal to the parent' },
  'user-namespace': { ids: '', title: 'a user namespace' },
  'join-namespace': { ids: '', title: 'joining another namespace' },
  mount: { ids: '', title: 'mounting a file system' },
  chroot: { ids: '', title: 'another root folder' },
  bpf: { ids: '', title: 'code in the kernel (bpf)' },
  perf: { ids: '', title: 'perf events' },
  userfaultfd: { ids: '', title: 'userfaultfd' },
  keys: { ids: '', title: 'kernel keys' },
  module: { ids: '', title: 'a kernel module' },
  'read-file': { ids: '', title: 'reading a file outside the plan', mayDo: mayLook },
  'write-tmp': { ids: 'L5-20', title: 'a file in /tmp' },
  'write-shm': { ids: 'L5-20', title: 'a file in /dev/shm' },
} as const satisfies Readonly<Record<string, Trial>>;

/** The trials that a role must fail. */
export function trialsFor(role: Role): string[] {
  return Object.entries<Trial>(trials)
    .filter(([, trial]) => trial.mayDo?.includes(role) !== true)
    .map(([name]) => name);
}
