/**
 * The supervisor's own seccomp filter. It applies to every thread, and to every child started afterwards.
 *
 * Promise: afterwards neither the supervisor nor a program it starts can connect, listen, send to an address, receive a
 *          descriptor, share memory or queues, make a socket other than a probe's, debug a process, call
 *          process_vm_readv, enter a namespace other than an empty network namespace, load kernel code or mount. A
 *          child may add a stricter filter.
 * Limits:  files are not confined, because the watchdog would inherit a Landlock domain and could not inspect processes
 *          outside it. So the supervisor can open whatever its user can. If root started it, that includes
 *          `/proc/PID/mem` of its roles, because it keeps CAP_SYS_PTRACE for the watchdog. `./kwyre isolate install`
 *          closes both gaps by running the server as a user that owns no file and has no capability. The supervisor can
 *          still start programs, and it shares the engine's working memory.
 * Proof:   test/attacks/2-supervisor.test.ts
 * @module
 */
import { statusField } from '../../../linux/procfs/task-status.ts';
import { readFileSync } from 'node:fs';
import { KwyreError } from '../../../base/errors.ts';
import { LinuxError } from '../../../linux/ffi.ts';
import { dropBoundingSet, resources, setLimit, setNoNewPrivs } from '../../../linux/process.ts';
import { callByName } from '../../../linux/syscalls.ts';
import { errnos, installFilter } from '../../../linux/seccomp.ts';
import {
  capabilitiesOfSupervisor,
  narrowedForSupervisor,
  refusedToSupervisor,
} from '../../../policy/supervisor-rights.ts';

/** Disables io_uring for this process, the programs it executes and its children. @throws `L2_FEATURE_MISSING` */
export function disableIoUring(): void {
  if (!setNoNewPrivs()) throw noNewPrivsMissing();
  installFilter({ rules: [{ call: 'io_uring_setup', action: { errno: errnos.ENOSYS } }], otherwise: 'allow' });
}

/** Disables core dumps and, as root, drops unneeded capabilities from the bounding set before the next execve. */
export function limitPrivileges(): void {
  setLimit(resources.core, 0);
  if (process.getuid?.() !== 0) return;
  try {
    dropBoundingSet(capabilitiesOfSupervisor.map(([number]) => number));
  } catch (error) {
    // Root in a container may lack CAP_SETPCAP; the status reports the remaining capabilities.
    if (!(error instanceof LinuxError)) throw error;
  }
}

/** Describes the capabilities of this process. */
function describeCapabilities(status: string): string {
  const sets = ['CapPrm', 'CapEff', 'CapBnd'].map((name) => BigInt(`0x0${statusField(status, name)}`));
  const held = sets.reduce((all, set) => all | set, 0n);
  const allowed = capabilitiesOfSupervisor.reduce((all, [number]) => all | (1n << BigInt(number)), 0n);
  if ((sets[0] ?? 0n) === 0n) return 'no capability';
  return (held & ~allowed) === 0n
    ? `the ${capabilitiesOfSupervisor.length} capabilities that its children need`
    : 'every capability of its user';
}

/** Calls tested with descriptor -1 once the filter is active; without the filter they return EBADF or EAFNOSUPPORT. */
const tested = [
  'connect',
  'bind',
  'listen',
  'accept',
  'accept4',
  'sendto',
  'sendmsg',
  'recvmsg',
  'shmget',
  'process_vm_readv',
  'socket',
] as const;

function errnoOf(name: string): number {
  try {
    return callByName(name, -1, 0, 0, 0, 0, 0);
  } catch (error) {
    if (error instanceof LinuxError) return error.errno;
    throw error;
  }
}

function noNewPrivsMissing(): KwyreError {
  return new KwyreError(
    'L2_FEATURE_MISSING',
    'the supervisor cannot set no_new_privs',
    'run outside restrictive containers',
  );
}

/**
 * Applies the filter to this process, irrevocably.
 * @returns the restrictions in force, in words
 * @throws `L2_FEATURE_MISSING`
 */
export function confineSupervisor(): string {
  if (!setNoNewPrivs()) throw noNewPrivsMissing();
  installFilter({
    rules: [
      ...narrowedForSupervisor,
      ...refusedToSupervisor.map(([call]) => ({ call, action: { errno: errnos.EPERM } })),
    ],
    otherwise: 'allow',
  });
  const open = tested.filter((name) => errnoOf(name) !== errnos.EPERM);
  if (open.length > 0)
    throw new KwyreError(
      'L2_FEATURE_MISSING',
      `the filter of the supervisor does not block ${open.join(', ')}`,
      './kwyre doctor shows what this machine can enforce',
    );
  return [
    `${tested.join(', ')} were tested and refused`,
    `${refusedToSupervisor.length} calls are blocked in the supervisor and its children`,
    'no connection, listener, datagram or debugger',
    `capabilities: ${describeCapabilities(readFileSync('/proc/self/status', 'latin1'))}`,
  ].join('; ');
}
