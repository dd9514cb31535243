/**
 * What the supervisor and everything that it starts may not do, once the server runs: speak, look into others, change
 * the system. It is no role: it writes the state folder, starts and ends children, and its files are not confined.
 * @module
 */
import type { ConditionalRow, Row } from './role-policy.ts';
import { forbidden } from './shared-rights.ts';

/**
 * What no role may do, but the supervisor must: it makes pairs, starts children in networks of their own, and ends
 * them.
 */
const itsWork: ReadonlySet<string> = new Set(['socket', 'socketpair', 'unshare', 'fork', 'vfork']);

/** Refused with EPERM for good; the roles' own filters kill for some of the same calls. */
export const refusedToSupervisor: readonly Row[] = [
  ['sendto', 'a message to an address needs no connection'],
  ['sendmsg', 'a message to an address needs no connection; descriptors travel by inheritance'],
  ['recvmsg', 'a descriptor that somebody hands over could be a listener or a connection'],
  ['recvmmsg', 'the same'],
  ['mknod', 'a pipe with a name, which others open'],
  ['mknodat', 'a pipe with a name, which others open'],
  ['shmget', 'memory that others attach'],
  ['shmat', 'memory of others'],
  ['shmctl', 'memory of others'],
  ['msgget', 'a queue that others read'],
  ['msgsnd', 'a queue that others read'],
  ['msgrcv', 'a queue of others'],
  ['msgctl', 'a queue of others'],
  ['semget', 'a counter that others read'],
  ['semop', 'a counter of others'],
  ['semtimedop', 'a counter of others'],
  ['semctl', 'a counter of others'],
  ['mq_open', 'a queue that others read'],
  ['mq_unlink', 'a queue of others'],
  ['mq_timedsend', 'a queue that others read'],
  ['mq_timedreceive', 'a queue of others'],
  ['mq_notify', 'a queue of others'],
  ['mq_getsetattr', 'a queue of others'],
  ['rt_sigqueueinfo', 'a signal that carries a word'],
  ['rt_tgsigqueueinfo', 'a signal that carries a word'],
  ['sched_setaffinity', 'moves other processes; ours stay where they are'],
  ['sched_setscheduler', 'slows other processes; ours run as they were started'],
  ['sched_setparam', 'the same'],
  ['sched_setattr', 'the same'],
  ['setpriority', 'the same'],
  ['ioprio_set', 'the same, of disks'],
  ['process_madvise', 'memory of other processes'],
  ['process_mrelease', 'memory of other processes'],
  ['migrate_pages', 'memory of other processes'],
  ['move_pages', 'memory of other processes'],
  ...forbidden.filter(([call]) => !itsWork.has(call)),
];

const refused = { errno: 1 } as const;
const always = { argument: 0, mask: 0, is: 0 } as const;

/** Decided by arguments, before the rows above: what its work needs and no more. */
export const narrowedForSupervisor: readonly ConditionalRow[] = [
  {
    call: 'socket',
    action: refused,
    when: { argument: 0, not: 2 },
    reason: 'a probe gets a TCP socket of IPv4, as the gateway has one; there is no need for any other',
  },
  { call: 'socket', action: refused, when: { argument: 1, mask: 0xf, not: 1 }, reason: 'no datagrams, nothing raw' },
  { call: 'socket', action: refused, when: { argument: 2, not: 0 }, reason: 'no other protocol: Multipath TCP, SCTP' },
  {
    call: 'socketpair',
    action: refused,
    when: { argument: 0, not: 1 },
    reason: 'pairs are Unix sockets; those of other families have addresses',
  },
  {
    call: 'socketpair',
    action: refused,
    when: { argument: 1, mask: 0xf, not: 1 },
    reason: 'a datagram socket of a pair could be sent to another',
  },
  {
    call: 'accept4',
    action: refused,
    when: [
      { argument: 0, not: 5 },
      { argument: 0, not: 6 },
    ],
    reason:
      'a fresh gateway, which inherits this filter, accepts at these numbers; nothing else that listens can be made here',
  },
  {
    call: 'setsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 1 },
      { argument: 2, is: 7 },
    ],
    reason: 'SO_SNDBUF: libuv on the pipes of a child',
    others: 'the size of a buffer',
  },
  {
    call: 'setsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 1 },
      { argument: 2, is: 8 },
    ],
    reason: 'SO_RCVBUF: libuv on the pipes of a child',
    others: 'the size of a buffer',
  },
  {
    call: 'setsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 6 },
      { argument: 2, is: 1 },
    ],
    reason: 'TCP_NODELAY: the connections of a fresh gateway',
    others: 'when the bytes of a connection of ours are sent',
  },
  {
    call: 'setsockopt',
    action: refused,
    when: always,
    reason: 'every other option of the listener: its interface, its protocol, who shares its port',
  },
  {
    call: 'unshare',
    action: refused,
    when: { argument: 0, not: 0x40000000 },
    reason: 'an empty network for a role (CLONE_NEWNET); a user namespace would bring capabilities back',
  },
  {
    call: 'clone',
    action: refused,
    when: { argument: 0, mask: 0x7e020000, not: 0 },
    reason: 'the same by clone: any namespace',
  },
  {
    call: 'clone3',
    action: { errno: 38 },
    when: always,
    reason: 'its flags are behind a pointer; libc falls back to clone',
  },
  {
    call: 'prctl',
    action: refused,
    when: [
      { argument: 0, is: 4 },
      { argument: 1, not: 0 },
    ],
    reason: 'PR_SET_DUMPABLE would let other programs of the same user take memory and descriptors',
  },
  {
    call: 'prctl',
    action: refused,
    when: { argument: 0, is: 0x59616d61 },
    reason: 'PR_SET_PTRACER would let one in by name',
  },
  {
    call: 'prlimit64',
    action: refused,
    when: { argument: 0, not: 0 },
    reason: 'the limits of other processes could end them',
  },
  {
    call: 'fcntl',
    action: refused,
    when: { argument: 1, is: 8 },
    reason: 'F_SETOWN: a descriptor that signals another process',
  },
  { call: 'fcntl', action: refused, when: { argument: 1, is: 10 }, reason: 'F_SETSIG: the same with any signal' },
  { call: 'fcntl', action: refused, when: { argument: 1, is: 15 }, reason: 'F_SETOWN_EX: the same' },
  {
    call: 'ioctl',
    action: refused,
    when: { argument: 1, mask: 0xff00, is: 0x8900 },
    reason: 'commands to sockets: addresses, interfaces, whom they signal',
  },
  {
    call: 'ioctl',
    action: refused,
    when: { argument: 1, is: 0x5412 },
    reason: 'TIOCSTI types into the terminal of whoever started it',
  },
  {
    call: 'ioctl',
    action: refused,
    when: { argument: 1, is: 0x541c },
    reason: 'TIOCLINUX: the same by the selection of a console',
  },
];

/**
 * What a supervisor keeps that root started, by the kernel's number; everything else leaves its bounding set before its
 * second image.
 */
export const capabilitiesOfSupervisor: readonly (readonly [number: number, reason: string])[] = [
  [0, 'CAP_CHOWN: its own state folder'],
  [1, 'CAP_DAC_OVERRIDE: a state folder or a model of another user'],
  [2, 'CAP_DAC_READ_SEARCH: the watchdog that it starts keeps it'],
  [3, 'CAP_FOWNER: modes in its state folder'],
  [5, 'CAP_KILL: its children have other users'],
  [6, 'CAP_SETGID: the groups of its children'],
  [7, 'CAP_SETUID: the users of its children'],
  [8, 'CAP_SETPCAP: its children empty their bounding sets'],
  [10, 'CAP_NET_BIND_SERVICE: --port below 1024; its filter refuses bind afterwards'],
  [14, 'CAP_IPC_LOCK: secret memory beyond the limit of locked memory'],
  [19, 'CAP_SYS_PTRACE: the watchdog that it starts keeps it'],
  [21, 'CAP_SYS_ADMIN: empty networks for its children'],
  [24, 'CAP_SYS_RESOURCE: limits of its children above its own'],
  [28, "CAP_LEASE: the model's file of another user"],
];
