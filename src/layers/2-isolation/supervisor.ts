/**
 * The supervisor's own filter, on every thread and on everything that it starts from then on.
 *
 * Promise: afterwards neither it nor a program that it starts can open a connection, send to an address, look into
 *          another process, load code into the kernel or mount. A filter of its own that a child adds still decides more.
 * Limits:  files are not confined: a Landlock domain would be inherited by the watchdog, which could then not look
 *          into any process outside of it. A user who owns no file does it (`./kwyre isolate install`).
 * Proof:   test/attacks/2-supervisor.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { callByName, setNoNewPrivs } from '../../linux/process.ts';
import { errnos, installFilter } from '../../linux/seccomp.ts';
import { refusedToSupervisor } from '../../policy/supervisor.ts';

/** Gives io_uring up for every image that this process becomes or starts. @throws `L2_FEATURE_MISSING` */
export function forgoRings(): void {
  if (!setNoNewPrivs()) throw noGain();
  installFilter({ rules: [{ call: 'io_uring_setup', action: { errno: errnos.ENOSYS } }], otherwise: 'allow' });
}

/** Tried once the filter is on, without a descriptor: unfiltered they say that it is none. */
const tried = ['connect', 'bind', 'sendto', 'sendmsg', 'process_vm_readv'] as const;

function answerOf(name: string): number {
  try {
    return callByName(name, -1, 0, 0, 0, 0, 0);
  } catch (error) {
    if (error instanceof LinuxError) return error.errno;
    throw error;
  }
}

function noGain(): KwyreError {
  return new KwyreError('L2_FEATURE_MISSING', 'the supervisor cannot give up gaining rights (no_new_privs)', 'run outside restrictive containers');
}

/** Confines this process for good, which has no ring; gives what holds from now on, in words. @throws `L2_FEATURE_MISSING` */
export function confineSupervisor(): string {
  if (!setNoNewPrivs()) throw noGain();
  installFilter({
    rules: refusedToSupervisor.map(([call]) => ({ call, action: { errno: errnos.EPERM } })),
    otherwise: 'allow',
  });
  const open = tried.filter((name) => answerOf(name) !== errnos.EPERM);
  if (open.length > 0) throw new KwyreError('L2_FEATURE_MISSING', `the supervisor's filter does not hold ${open.join(', ')}`, './kwyre doctor says what this machine can enforce');
  return `${tried.join(', ')} were tried and refused; no connection, no message to an address, no look into another process: ${refusedToSupervisor.length} calls are refused to it and to all that it starts`;
}
