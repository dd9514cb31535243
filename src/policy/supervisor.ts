/**
 * What the supervisor and everything that it starts may not do, once the server runs: speak, look into others, change the
 * system. It is no role: it writes the state folder, starts and ends children, and its files are not confined.
 * @module
 */
import type { ConditionalRow, Row } from './policy.ts';
import { forbidden } from './shared.ts';

/** What no role may do, but the supervisor must: it makes pairs, starts children in networks of their own, and ends them. */
const itsWork: ReadonlySet<string> = new Set(['socket', 'socketpair', 'pidfd_open', 'pidfd_send_signal', 'unshare', 'fork', 'vfork']);

/** Refused with EPERM for good; the roles' own filters kill for the same calls. */
export const refusedToSupervisor: readonly Row[] = [
  ['sendto', 'a message to an address needs no connection'],
  ['sendmsg', 'a message to an address needs no connection; descriptors travel by inheritance'],
  ['sendmmsg', 'a message to an address needs no connection'],
  ...forbidden.filter(([call]) => !itsWork.has(call)),
];

const refused = { errno: 1 } as const;

/** Decided by an argument, before the rows above: what its work needs and no more. */
export const narrowedForSupervisor: readonly ConditionalRow[] = [
  { call: 'socket', action: refused, when: { argument: 0, not: 2 }, reason: 'a probe gets a TCP socket of IPv4, as the gateway has one; there is no need for any other' },
  { call: 'socket', action: refused, when: { argument: 1, mask: 0xf, not: 1 }, reason: 'no datagrams, nothing raw' },
  { call: 'socket', action: refused, when: { argument: 2, not: 0 }, reason: 'no other protocol: Multipath TCP, SCTP' },
  { call: 'unshare', action: refused, when: { argument: 0, not: 0x40000000 }, reason: 'an empty network for a role (CLONE_NEWNET); a user namespace would bring capabilities back' },
  { call: 'clone', action: refused, when: { argument: 0, mask: 0x7e020000, not: 0 }, reason: 'the same by clone: any namespace' },
  { call: 'clone3', action: { errno: 38 }, when: { argument: 0, mask: 0, is: 0 }, reason: 'its flags are behind a pointer; libc falls back to clone' },
];

/** What a supervisor keeps that root started, by the kernel's number; everything else leaves its bounding set before its second image. */
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
  [28, 'CAP_LEASE: the model\'s file of another user'],
];
