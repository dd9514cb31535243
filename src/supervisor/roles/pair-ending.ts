/**
 * Why a pair of roles ended: an order to stop, a crash, or a breach.
 * @module
 */
import { lifelineExit } from '../../wire/lifeline.ts';
import type { Ending } from './role-process.ts';

/** The roles of a pair. */
export type ServingRole = 'gateway' | 'engine';

export type PairEnding =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'crash'; readonly role: ServingRole; readonly code: number | null; readonly signal: string | null }
  | Breach;

/** A role did something forbidden, or ended because the supervisor was not running. */
export type Breach = {
  readonly kind: 'breach';
  readonly role: ServingRole;
  readonly pid: number;
  /** `SIGSYS`, {@link supervisorStopped}, or the code of a wire error. */
  readonly reason: string;
};

/** The reason for a breach when the roles ended because the supervisor was not running. */
export const supervisorStopped = 'SUPERVISOR_STOPPED';

/** Returns the breach indicated by the way a role ended, or `undefined` if there was none. */
function breachOf(role: ServingRole, pid: number, { code, signal }: Ending): Breach | undefined {
  if (signal === 'SIGSYS') return { kind: 'breach', role, pid, reason: signal };
  return code === lifelineExit ? { kind: 'breach', role, pid, reason: supervisorStopped } : undefined;
}

/** How one role of a pair ended. */
export type RoleEnding = { readonly role: ServingRole; readonly pid: number; readonly ending: Ending };

/**
 * Returns the breach indicated by the way the roles of a pair ended, or `undefined` if there was none. Every role
 * counts, because when one ends, the other loses its data channel and may end with code 0 before it is noticed. Death
 * by SIGSYS takes precedence.
 */
export function breachOfPair(endings: readonly RoleEnding[]): Breach | undefined {
  const breaches = endings.flatMap(({ role, pid, ending }) => breachOf(role, pid, ending) ?? []);
  return breaches.find(({ reason }) => reason === 'SIGSYS') ?? breaches[0];
}
