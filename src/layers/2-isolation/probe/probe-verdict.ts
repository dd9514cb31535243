/**
 * What a probe's answers mean: held by a lock, or out. Pure.
 *
 * Promise: held is only what a lock of ours or an empty network answers. Success, a refused connection and a time-out
 *          mean that a packet got there; any other answer is out as well, since no lock gave it.
 * Proof:   test/unit/layers/2-probe-verdict.test.ts
 * @module
 */
import { permissiveErrno } from './permissive-filter.ts';

/** Locks that are probed by themselves, with the features that make each. */
export const locks = {
  seccomp: ['seccomp-start', 'seccomp-seal'],
  landlock: ['landlock-files', 'landlock-truncating', 'landlock-ports', 'landlock-devices', 'landlock-scopes'],
  'network-namespace': ['network-namespace'],
} as const;
export type Lock = keyof typeof locks;
export type LockFeature = (typeof locks)[Lock][number];

/** The ways out that every probe of the network tries. */
export const waysOut = {
  tcp: 'TCP to a closed port of an address of this machine',
  loopback: 'TCP to another service on loopback',
  tcp6: 'TCP over IPv6',
  udp: 'UDP to an address of this machine',
  dns: 'a question to a resolver on loopback',
  unix: 'a Unix socket of another program',
  'listener-fastopen': 'Fast Open on an inherited socket (L2-21)',
  'listener-unspec': 'an inherited socket turned around by connect (L2-22)',
} as const;
export type WayOut = keyof typeof waysOut;
const every = Object.keys(waysOut) as WayOut[];

/**
 * What each lock holds by itself; Landlock knows TCP only, and a path of the file system leads out of any namespace.
 */
export const blockedAlone: Readonly<Record<Lock, readonly WayOut[]>> = {
  seccomp: every,
  landlock: ['tcp', 'loopback', 'listener-unspec'],
  'network-namespace': ['tcp', 'loopback', 'udp', 'dns'],
};

/** The feature that holds those ways; without it the lock is not there. The filter is there always. */
export const featureBehind: Readonly<Record<Lock, LockFeature | undefined>> = {
  seccomp: undefined,
  landlock: 'landlock-ports',
  'network-namespace': 'network-namespace',
};

/** The ways that are tried with a set of locks: all of them, or what the single one holds. */
export function attemptsFor(alone: Lock | undefined): readonly WayOut[] {
  return alone === undefined ? every : blockedAlone[alone];
}

/** Features to leave out so that one lock stands alone. */
export function featuresToDisable(alone: Lock | undefined): LockFeature[] {
  return alone === undefined
    ? []
    : (Object.keys(locks) as Lock[]).filter((lock) => lock !== alone).flatMap((lock) => [...locks[lock]]);
}

const held: ReadonlyMap<number, string> = new Map([
  [1, 'EPERM'],
  [13, 'EACCES'],
  [38, 'ENOSYS'],
  [101, 'ENETUNREACH'],
  [113, 'EHOSTUNREACH'],
  [permissiveErrno, 'refused, and a role would be ended for it'],
]);
const gotOut: ReadonlyMap<number, string> = new Map([
  [0, 'done'],
  [11, 'a time-out'],
  [110, 'a time-out'],
  [111, 'a refused connection: it got there'],
  [115, 'a connection under way'],
]);

/** Whether an answer (0 or an error number) came from a lock. */
export function isBlocked(answer: number): boolean {
  return held.has(answer);
}

/** An answer in words. */
export function describeAnswer(answer: number): string {
  return held.get(answer) ?? gotOut.get(answer) ?? `error ${answer}, which no lock gives`;
}

/** What one attempt got: 0, an error number, or `missing` when the probe ended before it. */
export type Answers = ReadonlyMap<string, number>;

/** What follows from a probe's answers. */
export type ProbeVerdict = { readonly out: readonly string[]; readonly missing: readonly string[] };

/** Sorts the attempts that were asked for: what got out, and what was not answered. */
export function judgeAnswers(asked: readonly string[], answers: Answers): ProbeVerdict {
  const out = asked.filter((attempt) => {
    const answer = answers.get(attempt);
    return answer !== undefined && !isBlocked(answer);
  });
  return { out, missing: asked.filter((attempt) => !answers.has(attempt)) };
}
