/**
 * The supervisor's own filter, on every thread and on everything that it starts from then on.
 *
 * Promise: afterwards neither it nor a program that it starts can open a connection, listen, send to an address, be
 *          handed a descriptor, share memory or a queue with somebody, make another socket than the one of a probe,
 *          debug a process, read memory by process_vm_readv, enter another namespace than an empty network, load code
 *          into the kernel or mount. A filter of its own that a child adds still decides more.
 * Limits:  files are not confined: a Landlock domain would be inherited by the watchdog, which could then not look
 *          into any process outside of it. So it opens what its user may: started by root, which keeps CAP_SYS_PTRACE
 *          for
 *          the watchdog, also `/proc/PID/mem` of its roles. A user who owns no file and has no capability holds both
 *          (`./kwyre isolate install`). It starts programs, and the engine's work memory is shared with it.
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

/** Gives io_uring up for every image that this process becomes or starts. @throws `L2_FEATURE_MISSING` */
export function disableIoUring(): void {
  if (!setNoNewPrivs()) throw noGain();
  installFilter({ rules: [{ call: 'io_uring_setup', action: { errno: errnos.ENOSYS } }], otherwise: 'allow' });
}

/** Leaves the next image of a supervisor that root started only what its work needs, and every one no core image. */
export function limitPrivileges(): void {
  setLimit(resources.core, 0);
  if (process.getuid?.() !== 0) return;
  try {
    dropBoundingSet(capabilitiesOfSupervisor.map(([number]) => number));
  } catch (error) {
    // A container's root without CAP_SETPCAP: what is left is read and said.
    if (!(error instanceof LinuxError)) throw error;
  }
}

/** What this process holds by the kernel's word, in words. */
function capabilityWords(status: string): string {
  const sets = ['CapPrm', 'CapEff', 'CapBnd'].map((name) => BigInt(`0x0${statusField(status, name)}`));
  const held = sets.reduce((all, set) => all | set, 0n);
  const allowed = capabilitiesOfSupervisor.reduce((all, [number]) => all | (1n << BigInt(number)), 0n);
  if ((sets[0] ?? 0n) === 0n) return 'it has no capability';
  return (held & ~allowed) === 0n
    ? `of root's capabilities it keeps the ${capabilitiesOfSupervisor.length} that its children need`
    : 'it has every capability that its user had';
}

/** Tried once the filter is on, without a descriptor: unfiltered they say that it is none, or no such family. */
const tried = [
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

function answerOf(name: string): number {
  try {
    return callByName(name, -1, 0, 0, 0, 0, 0);
  } catch (error) {
    if (error instanceof LinuxError) return error.errno;
    throw error;
  }
}

function noGain(): KwyreError {
  return new KwyreError(
    'L2_FEATURE_MISSING',
    'the supervisor cannot give up gaining rights (no_new_privs)',
    'run outside restrictive containers',
  );
}

/**
 * Confines this process for good, which has no ring; gives what holds from now on, in words. @throws
 * `L2_FEATURE_MISSING`
 */
export function confineSupervisor(): string {
  if (!setNoNewPrivs()) throw noGain();
  installFilter({
    rules: [
      ...narrowedForSupervisor,
      ...refusedToSupervisor.map(([call]) => ({ call, action: { errno: errnos.EPERM } })),
    ],
    otherwise: 'allow',
  });
  const open = tried.filter((name) => answerOf(name) !== errnos.EPERM);
  if (open.length > 0)
    throw new KwyreError(
      'L2_FEATURE_MISSING',
      `the supervisor's filter does not hold ${open.join(', ')}`,
      './kwyre doctor says what this machine can enforce',
    );
  return `${tried.join(', ')} were tried and refused; no connection, nothing that listens, no message to an address, no debugger: ${refusedToSupervisor.length} calls are refused to it and to all that it starts; ${capabilityWords(readFileSync('/proc/self/status', 'latin1'))}`;
}
