/**
 * What the supervisor and everything that it starts may not do, once the server runs: speak, look into others, change the
 * system. It is no role: it writes the state folder, starts and ends children, and its files are not confined.
 * @module
 */
import type { Row } from './policy.ts';
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
