/**
 * Layer 6's report: the last scan, one check per detector, and the watchdog's own jail.
 *
 * Proof: test/unit/layers/layer-status.test.ts, test/attacks/6-watchdog.test.ts
 * @module
 */
import type { Check, Enforcement, LayerReport, LayerStatus } from '../../base/verdict.ts';
import { layerReport } from '../../base/verdict.ts';
import { requiredOf } from '../../policy/roles.ts';
import type { Assessment, Profile } from './escalation.ts';
import { weightOf } from './escalation.ts';
import type { Detection } from './finding.ts';
import { describeFinding } from './finding.ts';

/** The facts from which the report is made. */
type WatchdogFacts = {
  readonly assessment: Assessment;
  readonly detections: readonly Detection[];
  /** Number of scans so far, and the duration of the last one. */
  readonly scans: number;
  readonly scanMs: number;
  readonly intervalMs: number;
  readonly profile: Profile;
  /** Ids of the tools that the operator acknowledged for this run. */
  readonly acknowledged: readonly string[];
  /** The enforcement that the watchdog's jail and final filter reported. */
  readonly enforced: readonly Enforcement[];
};

/** Maximum number of findings named in the line for the scan. */
const maxNamed = 3;

function scanCheck({ assessment, scans, scanMs, intervalMs, profile }: WatchdogFacts): Check {
  const { level, counted, yellow, notes } = assessment;
  const found = [...counted, ...yellow, ...notes].slice(0, maxNamed).map(describeFinding);
  return {
    id: 'scan',
    status: scans === 0 ? 'off' : level === 'clean' ? 'enforced' : 'degraded',
    evidence:
      scans === 0
        ? 'no scan yet'
        : `scan ${scans}, every ${intervalMs} ms, profile ${profile}, level ${level}, last scan took ${scanMs} ms` +
          (found.length === 0 ? '' : `: ${found.join('; ')}`),
    at: Date.now(),
  };
}

function detectorCheck({ detector, seen, reason, findings }: Detection, facts: WatchdogFacts): Check {
  const isAlarming = findings.some((finding) => weightOf(finding, facts.profile, facts.acknowledged) !== 'note');
  const status: LayerStatus =
    seen === 'unreadable' || isAlarming ? 'degraded' : seen === 'not-available' ? 'off' : 'enforced';
  return {
    id: detector,
    status,
    evidence: `${seen}${reason === '' ? '' : ` (${reason})`}, ${findings.length} findings`,
    at: Date.now(),
  };
}

/** Checks the watchdog's own jail. A required feature that it did not report counts as missing. @internal */
export function watchdogJailCheck(enforced: readonly Enforcement[]): Check {
  const faults = requiredOf('watchdog').flatMap((feature) => {
    const entry = enforced.find((one) => one.feature === feature);
    if (entry === undefined) return [`${feature}: not reported`];
    return entry.status === 'full'
      ? []
      : [`${feature}: ${entry.observed}${entry.reason === '' ? '' : `, ${entry.reason}`}`];
  });
  const full = enforced.filter((entry) => entry.status === 'full').length;
  return {
    id: 'watchdog.jail',
    status: faults.length === 0 ? 'enforced' : 'degraded',
    evidence:
      faults.length === 0
        ? `a process in its own jail: ${full} of ${enforced.length} features in force, including every required one`
        : faults.join('; '),
    at: Date.now(),
  };
}

/** Returns the report of layer 6. Checks that only root could make are off, and do not degrade the layer. */
export function intrusionReport(facts: WatchdogFacts): LayerReport {
  const checks = [
    scanCheck(facts),
    ...facts.detections.map((detection) => detectorCheck(detection, facts)),
    watchdogJailCheck(facts.enforced),
  ];
  return layerReport(
    6,
    checks,
    checks.filter(({ id, status }) => id === 'scan' || status !== 'off'),
  );
}
