/**
 * The two filters of a role, made from its policy: the one of its start, and the one of its seal. Pure.
 *
 * Proof: test/attacks/2-calls.test.ts
 * @module
 */
import { errnos } from '../../../linux/seccomp.ts';
import type { Filter, Rule } from '../../../linux/seccomp.ts';
import type { Policy } from '../../../policy/role-policy.ts';
import { forbidden, forbiddenAfterStart, startConditions } from '../../../policy/shared-rights.ts';

/** What both begin with: calls that are answered unmade, and those that end the role. */
function firstRules(policy: Policy): Rule[] {
  return [
    ...policy.answered.map(([call, errno]) => ({ call, action: { errno } })),
    ...[...forbidden, ...policy.forbidden].map(([call]) => ({ call, action: 'kill' as const })),
  ];
}

/** The filter of the starting image: nothing forbidden, no ring. */
export function startFilter(policy: Policy): Filter {
  return {
    rules: [...firstRules(policy), ...startConditions.map(({ call, action, when }) => ({ call, action, when }))],
    otherwise: 'allow',
  };
}

/** The filter of a sealed role: what its policy allows, and nothing else. */
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
