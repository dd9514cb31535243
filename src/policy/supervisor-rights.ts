/**
 * What the supervisor and its children may not do once the server is running: use the network, inspect other processes,
 * or change the system. The supervisor is not a role: it writes the state folder, starts and stops children, and has no
 * Landlock domain.
 * @module
 */
import type { ConditionalRow, Row } from './role-policy.ts';
import { forbidden } from './forbidden-calls.ts';

/**
 * Calls that are forbidden to every role but that the supervisor needs, because it creates socket pairs and starts
 * children in empty networks.
 */
const supervisorNeeds: ReadonlySet<string> = new Set(['socket', 'socketpair', 'unshare', 'fork', 'vfork']);

/** Calls permanently refused with EPERM. For some of them, the roles' own filters kill the process instead. */
export const refusedToSupervisor: readonly Row[] = [
  ['sendto', 'sends to an address without a connection'],
  ['sendmsg', 'sends to an address without a connection; children inherit their descriptors'],
  ['recvmsg', 'a received descriptor could be a listener or a connection'],
  ['recvmmsg', 'as recvmsg'],
  ['mknod', 'a FIFO that other processes could open'],
  ['mknodat', 'a FIFO that other processes could open'],
  ['shmget', 'memory shared with other processes'],
  ['shmat', 'memory shared with other processes'],
  ['shmctl', 'memory shared with other processes'],
  ['msgget', 'a queue shared with other processes'],
  ['msgsnd', 'a queue shared with other processes'],
  ['msgrcv', 'a queue shared with other processes'],
  ['msgctl', 'a queue shared with other processes'],
  ['semget', 'a semaphore shared with other processes'],
  ['semop', 'a semaphore shared with other processes'],
  ['semtimedop', 'a semaphore shared with other processes'],
  ['semctl', 'a semaphore shared with other processes'],
  ['mq_open', 'a queue shared with other processes'],
  ['mq_unlink', 'a queue shared with other processes'],
  ['mq_timedsend', 'a queue shared with other processes'],
  ['mq_timedreceive', 'a queue shared with other processes'],
  ['mq_notify', 'a queue shared with other processes'],
  ['mq_getsetattr', 'a queue shared with other processes'],
  ['rt_sigqueueinfo', 'a signal with a payload'],
  ['rt_tgsigqueueinfo', 'a signal with a payload'],
  ['sched_setaffinity', 'moves other processes between cores; not needed'],
  ['sched_setscheduler', 'can slow other processes; not needed'],
  ['sched_setparam', 'as sched_setscheduler'],
  ['sched_setattr', 'as sched_setscheduler'],
  ['setpriority', 'as sched_setscheduler'],
  ['ioprio_set', 'can slow the I/O of other processes; not needed'],
  ['process_madvise', 'affects the memory of other processes'],
  ['process_mrelease', 'affects the memory of other processes'],
  ['migrate_pages', 'affects the memory of other processes'],
  ['move_pages', 'affects the memory of other processes'],
  ...forbidden.filter(([call]) => !supervisorNeeds.has(call)),
];

const refused = { errno: 1 } as const;
const always = { argument: 0, mask: 0, is: 0 } as const;

/** Rules on arguments, which take precedence over the rows above. */
export const narrowedForSupervisor: readonly ConditionalRow[] = [
  {
    call: 'socket',
    action: refused,
    when: { argument: 0, not: 2 },
    reason: "a probe gets an IPv4 TCP socket like the gateway's; no other is needed",
  },
  { call: 'socket', action: refused, when: { argument: 1, mask: 0xf, not: 1 }, reason: 'no datagram or raw socket' },
  { call: 'socket', action: refused, when: { argument: 2, not: 0 }, reason: 'no Multipath TCP, no SCTP' },
  {
    call: 'socketpair',
    action: refused,
    when: { argument: 0, not: 1 },
    reason: 'only pairs of Unix sockets; pairs of other families have addresses',
  },
  {
    call: 'socketpair',
    action: refused,
    when: { argument: 1, mask: 0xf, not: 1 },
    reason: 'a datagram socket can send to other addresses',
  },
  {
    call: 'accept4',
    action: refused,
    when: [
      { argument: 0, not: 5 },
      { argument: 0, not: 6 },
    ],
    reason: 'a new gateway inherits this filter and accepts on these descriptors; nothing else here can listen',
  },
  {
    call: 'setsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 1 },
      { argument: 2, is: 7 },
    ],
    reason: 'SO_SNDBUF: libuv sets it on the pipes of a child',
    others: 'it can change the size of a socket buffer',
  },
  {
    call: 'setsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 1 },
      { argument: 2, is: 8 },
    ],
    reason: 'SO_RCVBUF: libuv sets it on the pipes of a child',
    others: 'it can change the size of a socket buffer',
  },
  {
    call: 'setsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 6 },
      { argument: 2, is: 1 },
    ],
    reason: 'TCP_NODELAY: a new gateway sets it on connections',
    others: 'it can change when the data of its connections is sent',
  },
  {
    call: 'setsockopt',
    action: refused,
    when: always,
    reason: 'other options change the interface, protocol or port sharing of the listener',
  },
  {
    call: 'unshare',
    action: refused,
    when: { argument: 0, not: 0x40000000 },
    reason: 'only CLONE_NEWNET, for the empty network of a role; a user namespace would restore capabilities',
  },
  {
    call: 'clone',
    action: refused,
    when: { argument: 0, mask: 0x7e020000, not: 0 },
    reason: 'no namespaces from clone',
  },
  {
    call: 'clone3',
    action: { errno: 38 },
    when: always,
    reason: 'a filter cannot read its flags, which are behind a pointer; libc falls back to clone',
  },
  {
    call: 'prctl',
    action: refused,
    when: [
      { argument: 0, is: 4 },
      { argument: 1, not: 0 },
    ],
    reason: 'PR_SET_DUMPABLE would let other programs of the same user read memory and take descriptors',
  },
  {
    call: 'prctl',
    action: refused,
    when: { argument: 0, is: 0x59616d61 },
    reason: 'PR_SET_PTRACER would let a named process attach',
  },
  {
    call: 'prlimit64',
    action: refused,
    when: { argument: 0, not: 0 },
    reason: 'lowering the limits of another process can kill it',
  },
  {
    call: 'fcntl',
    action: refused,
    when: { argument: 1, is: 8 },
    reason: 'F_SETOWN would make a descriptor signal another process',
  },
  { call: 'fcntl', action: refused, when: { argument: 1, is: 10 }, reason: 'F_SETSIG: the same, with any signal' },
  { call: 'fcntl', action: refused, when: { argument: 1, is: 15 }, reason: 'F_SETOWN_EX: the same' },
  {
    call: 'ioctl',
    action: refused,
    when: { argument: 1, mask: 0xff00, is: 0x8900 },
    reason: 'socket ioctls: addresses, interfaces, signal owners',
  },
  {
    call: 'ioctl',
    action: refused,
    when: { argument: 1, is: 0x5412 },
    reason: 'TIOCSTI injects input into the controlling terminal',
  },
  {
    call: 'ioctl',
    action: refused,
    when: { argument: 1, is: 0x541c },
    reason: 'TIOCLINUX does the same through the console selection',
  },
];

/**
 * Capabilities that a supervisor started by root keeps, by the kernel's number. All others are removed from its
 * bounding set before its second image runs.
 */
export const capabilitiesOfSupervisor: readonly (readonly [number: number, reason: string])[] = [
  [0, 'CAP_CHOWN: owns its state folder'],
  [1, "CAP_DAC_OVERRIDE: opens another user's state folder or model"],
  [2, 'CAP_DAC_READ_SEARCH: the watchdog keeps it'],
  [3, 'CAP_FOWNER: sets modes in its state folder'],
  [5, 'CAP_KILL: signals its children, which run as other users'],
  [6, 'CAP_SETGID: changes the group of its children'],
  [7, 'CAP_SETUID: changes the user of its children'],
  [8, 'CAP_SETPCAP: its children empty their bounding sets'],
  [10, 'CAP_NET_BIND_SERVICE: --port below 1024; the filter blocks bind afterwards'],
  [14, 'CAP_IPC_LOCK: secret memory beyond RLIMIT_MEMLOCK'],
  [19, 'CAP_SYS_PTRACE: the watchdog keeps it'],
  [21, 'CAP_SYS_ADMIN: creates empty networks for its children'],
  [24, 'CAP_SYS_RESOURCE: sets limits for its children above its own'],
  [28, "CAP_LEASE: leases another user's model file"],
];
