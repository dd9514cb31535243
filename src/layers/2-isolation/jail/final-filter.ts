/**
 * A role's last act before the first byte from outside: the allowlist of its policy on every thread, and no dumping.
 *
 * Promise: afterwards any call that is not in the role's policy fails, and the forbidden ones end the process. What is
 *          reported was read back, or tried with a harmless call.
 * Proof:   test/attacks/2-jail.test.ts
 * @module
 */
import { statusField } from '../../../linux/procfs/task-status.ts';
import { readFileSync } from 'node:fs';
import { KwyreError } from '../../../base/errors.ts';
import type { Enforcement } from '../../../base/verdict.ts';
import { LinuxError } from '../../../linux/ffi.ts';
import { setUndumpable } from '../../../linux/process.ts';
import { callByName } from '../../../linux/syscalls.ts';
import { errnos, installFilter } from '../../../linux/seccomp.ts';
import type { Policy } from '../../../policy/role-policy.ts';
import type { Role } from '../../../policy/roles.ts';
import { roles } from '../../../policy/roles.ts';
import { finalFilter } from './seccomp-filters.ts';

const getSeccomp = 21;

/**
 * Whether the sealed filter answers: this call tells about filters, every kernel that has them answers it, and no role
 * may make it.
 */
function isSealed(): boolean {
  try {
    callByName('prctl', getSeccomp, 0, 0, 0, 0);
    return false;
  } catch (error) {
    if (error instanceof LinuxError) return error.errno === errnos.EPERM;
    throw error;
  }
}

/**
 * Seals this process for good.
 * @throws `L2_FEATURE_MISSING` when the kernel did not take it.
 */
export function applyFinalFilter(role: Role): Enforcement[] {
  const policy: Policy = roles[role];
  const filters = () => Number(statusField(readFileSync('/proc/self/status', 'latin1'), 'Seccomp_filters'));
  const before = filters();
  const undumpable = setUndumpable();
  const filter = finalFilter(policy);
  // The count is read while files can still be opened; the supervisor reads the one of every thread
  // (`supervisor/roles/self-probe.ts`).
  installFilter(filter);
  const sealed = isSealed();
  const entries: Enforcement[] = [
    {
      feature: 'not-dumpable',
      need: policy.features['not-dumpable'],
      asked: 'no dump, no debugger of the same user',
      got: undumpable ? 'PR_SET_DUMPABLE 0' : 'dumpable',
      status: undumpable ? 'full' : 'none',
      reason: '',
    },
    {
      feature: 'seccomp-seal',
      need: policy.features['seccomp-seal'],
      asked: 'only the calls of the policy',
      got: sealed
        ? `filter ${before + 1} answered a call that it refuses; the kernel put it on every thread; ${policy.calls.length} calls allowed`
        : 'the filter does not answer',
      status: sealed ? 'full' : 'none',
      reason: sealed ? '' : 'the kernel does not do what it says',
    },
  ];
  const missing = entries.find((entry) => entry.need === 'required' && entry.status !== 'full');
  if (missing !== undefined)
    throw new KwyreError(
      'L2_FEATURE_MISSING',
      `the ${role} cannot be sealed: ${missing.feature}`,
      'run on Linux 5.13 or later outside restrictive containers',
    );
  return entries;
}
