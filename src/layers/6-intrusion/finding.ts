/**
 * What a detector says: what it found, and what it could see in this run.
 *
 * Promise: metadata only: ids, numbers and an executable's name without control characters.
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import type { TargetState } from './scan-result.ts';
import { seen } from './scan-result.ts';

/** Every detector, by its stable id. */
export const detectorIds = [
  'tracer',
  'stopped',
  'jail',
  'inspector',
  'sockets',
  'children',
  'memory',
  'capture',
  'tools',
  'clock',
  'mappings',
  'weights',
  'heartbeat',
] as const;
export type DetectorId = (typeof detectorIds)[number];

/**
 * How the process that was found stands to ours.
 *
 * `effect`: it does something to one of ours, or one of ours does what it may not. `able`: a named tool of somebody
 * who could look into our processes. `stranger`: a named tool of somebody who could not.
 */
export const relations = ['effect', 'able', 'stranger'] as const;
export type Relation = (typeof relations)[number];

/** One thing found in one scan. */
export type Finding = {
  readonly detector: DetectorId;
  readonly relation: Relation;
  /** The process found, 0 when it cannot be told. */
  readonly pid: number;
  readonly uid: number;
  /** Its executable's name, cleaned. */
  readonly name: string;
  /** What was seen, in constant words and numbers. */
  readonly what: string;
  /** Id of the named tool, the word by which an operator acknowledges it. */
  readonly tool?: string | undefined;
};

/**
 * What a detector could see: `full`; `self-reported` by the process itself; `not-available` to this user, which by
 * itself is no fault; `unreadable` although it should be readable, which degrades the layer.
 */
export const visibilities = ['full', 'self-reported', 'not-available', 'unreadable'] as const;
export type Visibility = (typeof visibilities)[number];

/** The result of one detector. */
export type Detection = {
  readonly detector: DetectorId;
  readonly seen: Visibility;
  readonly reason: string;
  readonly findings: readonly Finding[];
};

const maxNameLength = 64;

/** A name that is safe to print and to log: printable ASCII only, of bounded length. */
export function cleanName(name: string): string {
  const slash = name.lastIndexOf('/');
  const printable = name.slice(slash + 1).replace(/[^\x20-\x7e]/g, '?');
  return printable === '' ? '?' : printable.slice(0, maxNameLength);
}

const rank: Readonly<Record<Visibility, number>> = { full: 0, 'self-reported': 1, 'not-available': 2, unreadable: 3 };

/** The worse of two sights with its reason. */
export function worseVisibility(
  a: { seen: Visibility; reason: string },
  b: { seen: Visibility; reason: string },
): { seen: Visibility; reason: string } {
  return rank[b.seen] > rank[a.seen] ? b : a;
}

/** Nothing hidden. */
export const fullVisibility: { readonly seen: Visibility; readonly reason: string } = { seen: 'full', reason: '' };

/** A finding about one of our own processes. */
export function aboutTarget(detector: DetectorId, state: TargetState, what: string): Finding {
  return {
    detector,
    relation: 'effect',
    pid: state.target.pid,
    uid: seen(state.status)?.uids[0] ?? -1,
    name: `kwyre ${state.target.role}`,
    what,
  };
}
