/**
 * A seccomp filter that returns an error where the role's own filter would kill, so that the probe survives to report
 * it.
 *
 * The kernel never returns this error for the calls in question, so it can only come from the filter.
 *
 * Limits:  a system call of another architecture or from the x32 table still kills the probe.
 * Proof:   test/unit/layers/2-permissive-filter.test.ts, test/attacks/2-probe.test.ts
 * @module
 */
import type { Filter } from '../../../linux/seccomp.ts';

/** ENOTRECOVERABLE, which the kernel uses only for robust mutexes. */
export const permissiveErrno = 131;

/** Returns the same filter with every kill replaced by `permissiveErrno`. */
export function permissiveFilter(filter: Filter): Filter {
  const replaceKill = (action: Filter['otherwise']): Filter['otherwise'] =>
    action === 'kill' ? { errno: permissiveErrno } : action;
  return {
    rules: filter.rules.map((rule) => ({ ...rule, action: replaceKill(rule.action) })),
    otherwise: replaceKill(filter.otherwise),
  };
}
