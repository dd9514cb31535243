/**
 * A detector's findings, and how much the detector could see in the scan.
 *
 * Promise: a finding contains only metadata: ids, numbers, and the name of an executable without control characters.
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import type { DetectorId, Relation, Visibility } from '../../base/detection.ts';
import type { TargetState } from './scan-result.ts';
import { seen } from './scan-result.ts';

/** One finding of one scan. */
export type Finding = {
  readonly detector: DetectorId;
  readonly relation: Relation;
  /** The process that was found, or 0 if it is unknown. */
  readonly pid: number;
  readonly uid: number;
  /** The name of its executable, without unsafe characters. */
  readonly name: string;
  /** Description of what was found: a sentence from `finding-texts.ts`, with numbers. */
  readonly what: string;
  /** Id of the known tool, which an operator uses to acknowledge it. */
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

/** Returns a name that is safe to print and to log: printable ASCII of bounded length. */
export function cleanName(name: string): string {
  const slash = name.lastIndexOf('/');
  const printable = name.slice(slash + 1).replace(/[^\x20-\x7e]/g, '?');
  return printable === '' ? '?' : printable.slice(0, maxNameLength);
}

const rank: Readonly<Record<Visibility, number>> = { full: 0, 'self-reported': 1, 'not-available': 2, unreadable: 3 };

/** Returns the worse of two visibilities, with its reason. */
export function worseVisibility(
  a: { seen: Visibility; reason: string },
  b: { seen: Visibility; reason: string },
): { seen: Visibility; reason: string } {
  return rank[b.seen] > rank[a.seen] ? b : a;
}

/** The visibility when nothing is hidden. */
export const fullVisibility: { readonly seen: Visibility; readonly reason: string } = { seen: 'full', reason: '' };

/** Returns a finding about one of the server's own processes. */
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

/** Describes a finding for the terminal or an error message. */
export function describeFinding({ name, pid, uid, what }: Finding): string {
  return `${name}${pid === 0 ? '' : ` (pid ${pid}, uid ${uid})`} ${what}`;
}
