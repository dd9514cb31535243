/**
 * Rights of the watchdog: it reads all of the machine's `/proc`, writes no files, and reports only to the supervisor.
 *
 * It has no Landlock domain, because Landlock would hide other processes' descriptors and executables, even from root.
 * A compromised watchdog can only read. Its filter does not let it open anything for writing, create sockets, or
 * signal, trace or start processes, and its only output is the channel to the supervisor. Through the inherited netlink
 * socket it can write only to the kernel (`write` takes no address), which answers queries about sockets; closing a
 * socket that way needs a capability that the watchdog does not have.
 * @module
 */
import type { ConditionalRow, Policy } from './role-policy.ts';
import { effects } from './role-policy.ts';
import { strictFeatures, systemExecute, systemRead } from './shared-rights.ts';
import { answered } from './forbidden-calls.ts';
import { conditions } from './conditional-calls.ts';
import { runtimeCalls } from './runtime-calls.ts';

/** O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, and the bit that only O_TMPFILE has. */
const writing = 0x00400000 | 0x3 | 0x40 | 0x200 | 0x400;

const readOnly = [
  {
    call: 'openat',
    action: 'allow',
    when: { argument: 2, mask: writing, is: 0 },
    reason: 'reads /proc',
    others: 'it can read anything its user can, and drain a FIFO; it reports only to the supervisor',
  },
  { call: 'openat', action: 'kill', when: { argument: 0, mask: 0, is: 0 }, reason: 'the watchdog writes no files' },
  {
    call: 'open',
    action: 'allow',
    when: { argument: 1, mask: writing, is: 0 },
    reason: 'reads /proc',
    others: 'it can read anything its user can, and drain a FIFO; it reports only to the supervisor',
  },
  { call: 'open', action: 'kill', when: { argument: 0, mask: 0, is: 0 }, reason: 'the watchdog writes no files' },
] as const satisfies readonly ConditionalRow[];

const blind =
  'a Landlock domain would hide the descriptors and executables of the processes that the watchdog inspects';

export const watchdog = {
  features: strictFeatures,
  without: [
    ['landlock-files', blind],
    ['landlock-truncating', blind],
    ['landlock-ports', blind],
    ['landlock-devices', blind],
    ['landlock-scopes', blind],
  ],
  capabilities: [
    [2, "CAP_DAC_READ_SEARCH: reads the descriptors of other users' processes"],
    [19, 'CAP_SYS_PTRACE: reads executables, maps and descriptors of all processes; the filter blocks ptrace itself'],
  ],
  limits: { openFiles: 64 },
  read: systemRead,
  execute: systemExecute,
  answered,
  forbidden: [['accept4', 'the watchdog has no listener']],
  conditions: [...readOnly, ...conditions],
  calls: [
    ...runtimeCalls,
    ['readlink', 'descriptors and executables', effects.readsOnly],
    ['readlinkat', 'descriptors and executables', effects.readsOnly],
    ['getxattr', 'the protocol of a socket that no /proc/net table lists', effects.readsOnly],
    ['getdents64', 'lists of processes, threads and descriptors', effects.readsOnly],
    ['newfstatat', 'kinds of directory entries', effects.readsOnly],
    ['statx', 'kinds of directory entries', effects.readsOnly],
  ],
} as const satisfies Policy;
