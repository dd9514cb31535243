/**
 * What a detector says: what it found, and what it could see in this run.
 *
 * Promise: metadata only: ids, numbers and an executable's name without control characters.
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import type { DetectorId, Relation, Visibility } from '../../base/detection.ts';
import type { TargetState } from './scan-result.ts';
import { seen } from './scan-result.ts';

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
