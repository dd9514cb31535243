/**
 * Rights of the watchdog: it looks at the whole machine's `/proc`, writes nothing and talks to the supervisor alone.
 *
 * It is not landlocked: Landlock would hide other processes' descriptors and executables, even from root. What is left
 * to a watchdog under an attacker's code is reading: its filter opens nothing for writing, makes no socket, signals,
 * traces and starts nobody, and its only way out is the channel to the supervisor. By the netlink socket that it is
 * handed it may write to the kernel alone (no other address can be given with `write`), which answers questions about
 * sockets; ending one needs a capability that it does not have.
 * @module
 */
import type { ConditionalRow, Policy } from './role-policy.ts';
import { answered, conditions, runtimeCalls, strictFeatures, systemExecute, systemRead } from './shared-rights.ts';

/** O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, O_TMPFILE (its own bit). */
const writing = 0x00400000 | 0x3 | 0x40 | 0x200 | 0x400;

const readOnly = [
  {
    call: 'openat',
    action: 'allow',
    when: { argument: 2, mask: writing, is: 0 },
    reason: '/proc, for reading',
    others:
      'it reads what its user may, and takes what a pipe with a name holds; what is told goes to the supervisor alone',
  },
  { call: 'openat', action: 'kill', when: { argument: 0, mask: 0, is: 0 }, reason: 'the watchdog writes nothing' },
  {
    call: 'open',
    action: 'allow',
    when: { argument: 1, mask: writing, is: 0 },
    reason: '/proc, for reading',
    others:
      'it reads what its user may, and takes what a pipe with a name holds; what is told goes to the supervisor alone',
  },
  { call: 'open', action: 'kill', when: { argument: 0, mask: 0, is: 0 }, reason: 'the watchdog writes nothing' },
] as const satisfies readonly ConditionalRow[];

const tells = 'it is told something and changes nothing';
const blind =
  'any Landlock hides the descriptors and executables of other processes from the one whose work is to see them';

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
    [2, "CAP_DAC_READ_SEARCH: the descriptor lists of other users' processes"],
    [
      19,
      "CAP_SYS_PTRACE: executables, maps and descriptors of other users' and of non-dumpable processes; the filter refuses ptrace itself",
    ],
  ],
  limits: { openFiles: 64 },
  read: systemRead,
  execute: systemExecute,
  answered,
  forbidden: [['accept4', 'the watchdog has no listener']],
  conditions: [...readOnly, ...conditions],
  calls: [
    ...runtimeCalls,
    ['readlink', 'descriptors and executables', tells],
    ['readlinkat', 'descriptors and executables', tells],
    ['getxattr', 'the protocol of a socket that is in no table', tells],
    ['getdents64', 'lists of processes, threads and descriptors', tells],
    ['newfstatat', 'kinds of directory entries', tells],
    ['statx', 'kinds of directory entries', tells],
  ],
} as const satisfies Policy;
