/**
 * Decides what the supervisor does about a finding: log it, refuse new conversations, count it as a detection, or shut
 * the server down. Pure functions.
 *
 * The profiles differ only for known tools run by a user who could inspect the server. With `installed`, such a tool
 * counts as a detection. With `person`, it turns the level yellow: new conversations are refused until the tool is gone
 * or acknowledged. In both profiles, a finding that affects the server counts, and a stranger's tool is only logged.
 *
 * Promise: a kill by the kernel and an escaped self-probe are violations immediately; anything else needs two scans.
 * Proof:   test/unit/layers/6-escalation.test.ts
 * @module
 */
import { exhaustive } from '../../base/errors.ts';
import { nextCount, isConfirmed } from './confirmation-counter.ts';
import type { DetectorId } from '../../base/detection.ts';
import type { Detection, Finding } from './finding.ts';

/** Whether a user started the server, or it is installed as a service. */
export type Profile = 'person' | 'installed';

/** How a finding counts. */
type Weight = 'count' | 'yellow' | 'note';

/** Returns how a finding counts. @param acknowledged - ids of tools that the operator accepted for this run */
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

/** The result of all scans so far. */
export type Assessment = {
  readonly count: number;
  /** `yellow`: no new conversations; `detected`: one more such scan confirms a violation; `confirmed`: a violation. */
  readonly level: 'clean' | 'yellow' | 'detected' | 'confirmed';
  readonly counted: readonly Finding[];
  readonly yellow: readonly Finding[];
  readonly notes: readonly Finding[];
  /** Detectors that could not read the data they need. */
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

/** Returns the assessment after one more scan. */
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

/** Why the server shut down, as recorded in the log and in the marker. Contains only metadata. */
export type Violation = {
  readonly code: string;
  readonly detector: string;
  readonly pid: number;
  readonly uid: number;
  readonly name: string;
};

/** Codes of violations that need no second scan. */
export const immediateViolations = {
  kernelKill: 'L6_KERNEL_KILL',
  selfProbe: 'L6_PROBE_ESCAPED',
  watchdogDead: 'L6_WATCHDOG_DEAD',
  watchdogSilent: 'L6_WATCHDOG_SILENT',
  supervisorStopped: 'L6_SUPERVISOR_STOPPED',
  wireBreach: 'L6_WIRE_BREACH',
} as const;

/** Returns the violation for a confirmed assessment, which describes its first counted finding. */
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
