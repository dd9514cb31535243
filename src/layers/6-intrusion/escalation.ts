/**
 * From findings to what the supervisor does: log, turn yellow, count, or end everything. Pure.
 *
 * Profiles (they differ for named tools alone): `installed` counts a named tool of anybody who could look into us;
 * `person` turns the layer yellow for it and refuses new conversations until it is gone or acknowledged. What has an
 * effect on us counts in both; a stranger's tool is logged in both.
 *
 * Promise: a kernel kill or a failed self-probe confirms at once; anything else needs two scans.
 * Proof:   test/unit/layers/6-escalation.test.ts
 * @module
 */
import { exhaustive } from '../../base/errors.ts';
import { nextCount, isConfirmed } from './confirmation-counter.ts';
import type { DetectorId } from '../../base/detection.ts';
import type { Detection, Finding } from './finding.ts';

export const profiles = ['person', 'installed'] as const;
export type Profile = (typeof profiles)[number];

/** What one finding is worth. */
export type Weight = 'count' | 'yellow' | 'note';

/** The weight of a finding in a profile; `acknowledged` are ids of tools that the operator accepted for this run. */
export function weightOf(finding: Finding, profile: Profile, acknowledged: readonly string[]): Weight {
  switch (finding.relation) {
    case 'effect':
      return 'count';
    case 'stranger':
      return 'note';
    case 'able':
      if (profile === 'installed') return 'count';
      return finding.tool !== undefined && acknowledged.includes(finding.tool) ? 'note' : 'yellow';
    default:
      return exhaustive(finding.relation);
  }
}

/** What is known after a number of scans. */
export type Assessment = {
  readonly count: number;
  /** `clean`; `yellow`: no new conversations; `detected`: one more scan like this confirms; `confirmed`: the end. */
  readonly level: 'clean' | 'yellow' | 'detected' | 'confirmed';
  readonly counted: readonly Finding[];
  readonly yellow: readonly Finding[];
  readonly notes: readonly Finding[];
  /** Detectors that could not see what they should. */
  readonly blind: readonly DetectorId[];
};

export const initialAssessment: Assessment = {
  count: 0,
  level: 'clean',
  counted: [],
  yellow: [],
  notes: [],
  blind: [],
};

/** The standing after one more scan. */
export function assessScan(
  before: Assessment,
  detections: readonly Detection[],
  profile: Profile,
  acknowledged: readonly string[],
): Assessment {
  const findings = detections.flatMap((detection) => detection.findings);
  const of = (weight: Weight): Finding[] =>
    findings.filter((finding) => weightOf(finding, profile, acknowledged) === weight);
  const counted = of('count');
  const yellow = of('yellow');
  const count = nextCount(before.count, counted.length > 0);
  return {
    count,
    level: isConfirmed(count) ? 'confirmed' : counted.length > 0 ? 'detected' : yellow.length > 0 ? 'yellow' : 'clean',
    counted,
    yellow,
    notes: of('note'),
    blind: detections.filter((detection) => detection.seen === 'unreadable').map((detection) => detection.detector),
  };
}

/** What ends a server, as it is logged and kept in the marker: metadata only. */
export type Violation = {
  readonly code: string;
  readonly detector: string;
  readonly pid: number;
  readonly uid: number;
  readonly name: string;
};

/** Causes that confirm without a second look. */
export const immediateViolations = {
  kernelKill: 'L6_KERNEL_KILL',
  selfProbe: 'L6_PROBE_ESCAPED',
  watchdogDead: 'L6_WATCHDOG_DEAD',
  watchdogSilent: 'L6_WATCHDOG_SILENT',
  supervisorStopped: 'L6_SUPERVISOR_STOPPED',
  wireBreach: 'L6_WIRE_BREACH',
} as const;

/** The violation of a confirmed standing: its first counted finding. */
export function violationOf(standing: Assessment): Violation {
  const first = standing.counted[0];
  return {
    code: 'L6_VIOLATION',
    detector: first?.detector ?? 'heartbeat',
    pid: first?.pid ?? 0,
    uid: first?.uid ?? -1,
    name: first?.name ?? '?',
  };
}
