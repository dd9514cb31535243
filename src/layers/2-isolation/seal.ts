/**
 * A role's last act before the first byte from outside: the allowlist of its policy on every thread, and no dumping.
 *
 * Promise: afterwards any call that is not in the role's policy fails, and the forbidden ones end the process.
 * Proof:   test/attacks/2-jail.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';
import { KwyreError } from '../../base/errors.ts';
import type { Enforcement } from '../../base/verdict.ts';
import { setUndumpable } from '../../linux/process.ts';
import { errnos, installFilter } from '../../linux/seccomp.ts';
import type { Filter } from '../../linux/seccomp.ts';
import type { Policy } from '../../policy/policy.ts';
import type { Role } from '../../policy/roles.ts';
import { roles } from '../../policy/roles.ts';
import { absent, forbidden, forbiddenSealed } from '../../policy/shared.ts';

/** The filter of a sealed role; pure. */
export function sealFilter(policy: Policy): Filter {
  return {
    rules: [
      ...absent.map(([call]) => ({ call, action: { errno: errnos.ENOSYS } })),
      ...[...forbidden, ...forbiddenSealed].map(([call]) => ({ call, action: 'kill' as const })),
      ...policy.conditions.map(({ call, action, when }) => ({ call, action, when })),
      ...policy.calls.map(([call]) => ({ call, action: 'allow' as const })),
    ],
    otherwise: { errno: errnos.EPERM },
  };
}

/**
 * Seals this process for good.
 * @throws `L2_FEATURE_MISSING` when the kernel did not take it.
 */
export function sealSelf(role: Role): Enforcement[] {
  const policy: Policy = roles[role];
  const filters = () => Number(/^Seccomp_filters:\s*(\d+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? 0);
  const before = filters();
  const undumpable = setUndumpable();
  const filter = sealFilter(policy);
  // The count is read while files can still be opened; the kernel's own answer to the call is the proof for the rest.
  installFilter(filter);
  const entries: Enforcement[] = [
    { feature: 'not-dumpable', need: policy.features['not-dumpable'], asked: 'no dump, no debugger of the same user', got: undumpable ? 'PR_SET_DUMPABLE 0' : 'dumpable', status: undumpable ? 'full' : 'none', reason: '' },
    { feature: 'seccomp-seal', need: policy.features['seccomp-seal'], asked: 'only the calls of the policy', got: `filter ${before + 1} on every thread, ${policy.calls.length} calls allowed`, status: 'full', reason: '' },
  ];
  const missing = entries.find((entry) => entry.need === 'required' && entry.status !== 'full');
  if (missing !== undefined) throw new KwyreError('L2_FEATURE_MISSING', `the ${role} cannot be sealed: ${missing.feature}`, 'run on Linux 5.13 or later outside restrictive containers');
  return entries;
}
