/**
 * Builds the two seccomp filters of a role from its policy: the start filter and the final filter. Pure.
 *
 * Proof: test/attacks/2-calls.test.ts
 * @module
 */
import { errnos } from '../../../linux/seccomp.ts';
import type { Filter, Rule } from '../../../linux/seccomp.ts';
import type { Policy } from '../../../policy/role-policy.ts';
import { forbidden, forbiddenAfterStart } from '../../../policy/forbidden-calls.ts';
import { startConditions } from '../../../policy/conditional-calls.ts';

/** Returns the first rules of both filters: calls that fail without being executed, and calls that kill the process. */
function firstRules(policy: Policy): Rule[] {
  return [
    ...policy.answered.map(([call, errno]) => ({ call, action: { errno } })),
    ...[...forbidden, ...policy.forbidden].map(([call]) => ({ call, action: 'kill' as const })),
  ];
}

/** Returns the filter that applies as soon as a role starts: it blocks forbidden calls and io_uring. */
export function startFilter(policy: Policy): Filter {
  return {
    rules: [...firstRules(policy), ...startConditions.map(({ call, action, when }) => ({ call, action, when }))],
    otherwise: 'allow',
  };
}

/** Returns the final filter: every call outside the role's policy fails. */
export function finalFilter(policy: Policy): Filter {
  return {
    rules: [
      ...firstRules(policy),
      ...forbiddenAfterStart.map(([call]) => ({ call, action: 'kill' as const })),
      ...policy.conditions.map(({ call, action, when }) => ({ call, action, when })),
      ...policy.calls.map(([call]) => ({ call, action: 'allow' as const })),
    ],
    otherwise: { errno: errnos.EPERM },
  };
}
