/**
 * The final filter: before a role reads its first byte from outside, it applies the allowlist of its policy to every
 * thread and becomes non-dumpable.
 *
 * Promise: afterwards a call outside the policy fails, and a forbidden call kills the process. Everything reported was
 *          read back or tested with a harmless call.
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

/** Returns whether the filter is active: every kernel with seccomp supports PR_GET_SECCOMP, but no policy allows it. */
function isFiltered(): boolean {
  try {
    callByName('prctl', getSeccomp, 0, 0, 0, 0);
    return false;
  } catch (error) {
    if (error instanceof LinuxError) return error.errno === errnos.EPERM;
    throw error;
  }
}

/**
 * Applies the final filter to every thread of this process, irrevocably.
 * @throws `L2_FEATURE_MISSING` if the kernel does not enforce it
 */
export function applyFinalFilter(role: Role): Enforcement[] {
  const policy: Policy = roles[role];
  const filters = () => Number(statusField(readFileSync('/proc/self/status', 'latin1'), 'Seccomp_filters'));
  const before = filters();
  const undumpable = setUndumpable();
  const filter = finalFilter(policy);
  // Counted before the filter blocks open; the supervisor reads each thread's count later (self-probe.ts).
  installFilter(filter);
  const filtered = isFiltered();
  const entries: Enforcement[] = [
    {
      feature: 'not-dumpable',
      need: policy.features['not-dumpable'],
      requested: 'no core dump, no debugger of the same user',
      observed: undumpable ? 'PR_SET_DUMPABLE 0' : 'dumpable',
      status: undumpable ? 'full' : 'none',
      reason: '',
    },
    {
      feature: 'seccomp-seal',
      need: policy.features['seccomp-seal'],
      requested: 'no call outside the policy',
      observed: filtered
        ? `filter ${before + 1} is on every thread and refused a test call; ${policy.calls.length} calls allowed`
        : 'the filter does not refuse a test call',
      status: filtered ? 'full' : 'none',
      reason: filtered ? '' : 'the kernel accepted the filter but does not enforce it',
    },
  ];
  const missing = entries.find((entry) => entry.need === 'required' && entry.status !== 'full');
  if (missing !== undefined)
    throw new KwyreError(
      'L2_FEATURE_MISSING',
      `the ${role} cannot be confined: ${missing.feature}`,
      'run on Linux 5.13 or later, outside restrictive containers',
    );
  return entries;
}
