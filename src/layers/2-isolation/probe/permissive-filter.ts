/**
 * A filter that answers where the role's own would kill: for a probe that has to live on and tell what it got.
 *
 * The answer is an error that no kernel gives for the calls in question, so that it can only come from the filter.
 *
 * Limits:  a call of another architecture or of the x32 table kills a probe too.
 * Proof:   test/unit/layers/2-permissive-filter.test.ts, test/attacks/2-probe.test.ts
 * @module
 */
import type { Filter } from '../../../linux/seccomp.ts';

/** ENOTRECOVERABLE: the kernel's word about a lock whose owner died, and about nothing else. */
export const permissiveErrno = 131;

/** The same rules, with every kill turned into `permissiveErrno`; pure. */
export function permissiveFilter(filter: Filter): Filter {
  const soft = (action: Filter['otherwise']): Filter['otherwise'] =>
    action === 'kill' ? { errno: permissiveErrno } : action;
  return {
    rules: filter.rules.map((rule) => ({ ...rule, action: soft(rule.action) })),
    otherwise: soft(filter.otherwise),
  };
}
