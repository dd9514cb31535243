/**
 * Classifies a probe's answers as blocked or escaped. Pure.
 *
 * Promise: an attempt counts as blocked if the error is one that a filter, Landlock or an empty network returns. A
 *          refused connection or a timeout means that a packet got out; any other answer also counts as an escape.
 * Proof:   test/unit/layers/2-probe-verdict.test.ts
 * @module
 */
import type { EgressAttempt } from './egress-attempts.ts';
import { egressAttempts } from './egress-attempts.ts';
import { permissiveErrno } from './permissive-filter.ts';

/** Mechanisms that are also tested alone, with the jail features that make up each one. */
export const locks = {
  seccomp: ['seccomp-start', 'seccomp-seal'],
  landlock: ['landlock-files', 'landlock-truncating', 'landlock-ports', 'landlock-devices', 'landlock-scopes'],
  'network-namespace': ['network-namespace'],
} as const;
export type Lock = keyof typeof locks;
type LockFeature = (typeof locks)[Lock][number];

const every = Object.keys(egressAttempts) as EgressAttempt[];

/**
 * The attempts that each mechanism blocks on its own: Landlock covers only TCP, and a network namespace does not cover
 * Unix sockets bound to a path.
 */
export const blockedAlone: Readonly<Record<Lock, readonly EgressAttempt[]>> = {
  seccomp: every,
  landlock: ['tcp', 'loopback', 'listener-unspec'],
  'network-namespace': ['tcp', 'loopback', 'udp', 'dns'],
};

/** The feature that a mechanism's test depends on; seccomp is always available. */
export const featureBehind: Readonly<Record<Lock, LockFeature | undefined>> = {
  seccomp: undefined,
  landlock: 'landlock-ports',
  'network-namespace': 'network-namespace',
};

/** Returns the attempts that must be blocked: all attempts for a whole jail, fewer for one mechanism alone. */
export function attemptsFor(alone: Lock | undefined): readonly EgressAttempt[] {
  return alone === undefined ? every : blockedAlone[alone];
}

/** Returns the features to leave out so that one mechanism is tested alone. */
export function featuresToDisable(alone: Lock | undefined): LockFeature[] {
  return alone === undefined
    ? []
    : (Object.keys(locks) as Lock[]).filter((lock) => lock !== alone).flatMap((lock) => [...locks[lock]]);
}

const blocked: ReadonlyMap<number, string> = new Map([
  [1, 'EPERM'],
  [13, 'EACCES'],
  [38, 'ENOSYS'],
  [101, 'ENETUNREACH'],
  [113, 'EHOSTUNREACH'],
  [permissiveErrno, 'refused; the role itself would be killed'],
]);
const escaped: ReadonlyMap<number, string> = new Map([
  [0, 'succeeded'],
  [11, 'timed out'],
  [110, 'timed out'],
  [111, 'connection refused: the packet arrived'],
  [115, 'connection in progress'],
]);

/** Returns whether an answer (0 or an error number) came from a mechanism of the jail. */
export function isBlocked(answer: number): boolean {
  return blocked.has(answer);
}

/** Returns an answer in words. */
export function describeAnswer(answer: number): string {
  return blocked.get(answer) ?? escaped.get(answer) ?? `error ${answer}, which the jail never returns`;
}

/** The attempts that escaped, and those without an answer. */
export type ProbeVerdict = { readonly out: readonly string[]; readonly missing: readonly string[] };

/** @param answers - 0 or an error number by attempt; an attempt that the probe did not reach has none */
export function judgeAnswers(asked: readonly string[], answers: ReadonlyMap<string, number>): ProbeVerdict {
  const out = asked.filter((attempt) => {
    const answer = answers.get(attempt);
    return answer !== undefined && !isBlocked(answer);
  });
  return { out, missing: asked.filter((attempt) => !answers.has(attempt)) };
}
