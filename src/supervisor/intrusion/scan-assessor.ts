/**
 * Derives the current assessment, the changes in it and layer 6's report from the watchdog's scans.
 * @module
 */
import type { Enforcement, LayerReport } from '../../base/verdict.ts';
import type { Assessment, Profile, Violation } from '../../layers/6-intrusion/escalation.ts';
import { assessScan, initialAssessment, violationOf } from '../../layers/6-intrusion/escalation.ts';
import type { Detection, Finding } from '../../layers/6-intrusion/finding.ts';
import { intrusionReport } from '../../layers/6-intrusion/status.ts';

/** Settings for the assessment of scans. */
export type AssessorOptions = {
  readonly intervalMs: number;
  readonly profile: Profile;
  /** Ids of the tools that the operator acknowledged for this run. */
  readonly acknowledged: readonly string[];
};

/** The changes that one scan caused. */
type Change = {
  readonly violation: Violation | undefined;
  /** Findings that the previous scan did not have. */
  readonly findings: readonly Finding[];
  readonly isNewLevel: boolean;
};

/** Maximum number of past findings that are remembered, so that one pid cannot flood the log. */
const maxKnown = 256;

export class ScanAssessor {
  readonly #options: AssessorOptions;
  #assessment = initialAssessment;
  #detections: readonly Detection[] = [];
  #scans = 0;
  #scanMs = 0;
  readonly #known = new Set<string>();

  constructor(options: AssessorOptions) {
    this.#options = options;
  }

  get assessment(): Assessment {
    return this.#assessment;
  }

  /** The detections of the last scan. */
  get detections(): readonly Detection[] {
    return this.#detections;
  }

  /** Number of scans so far. */
  get scans(): number {
    return this.#scans;
  }

  /** Counts a scan. @param scanMs - its duration in milliseconds */
  count(scanMs: number): void {
    this.#scans += 1;
    this.#scanMs = scanMs;
  }

  assess(detections: readonly Detection[]): Change {
    const before = this.#assessment;
    this.#detections = detections;
    const now = assessScan(before, detections, this.#options.profile, this.#options.acknowledged);
    this.#assessment = now;
    return {
      violation: now.level === 'confirmed' ? violationOf(now) : undefined,
      findings: this.#newFindings(now),
      isNewLevel: now.level !== before.level,
    };
  }

  /** Returns layer 6's report. @param enforced - what the watchdog's jail reported */
  report(enforced: readonly Enforcement[]): LayerReport {
    return intrusionReport({
      ...this.#options,
      assessment: this.#assessment,
      detections: this.#detections,
      scans: this.#scans,
      scanMs: this.#scanMs,
      enforced,
    });
  }

  #newFindings({ counted, yellow, notes }: Assessment): Finding[] {
    const present = new Set<string>();
    const found = [...counted, ...yellow, ...notes].filter((finding) => {
      const key = `${finding.detector} ${finding.pid} ${finding.name} ${finding.relation}`;
      const isNew = !this.#known.has(key);
      present.add(key);
      this.#known.add(key);
      return isNew;
    });
    // A finding that went away and was forgotten is logged again if it comes back.
    for (const key of this.#known) if (!present.has(key) && this.#known.size > maxKnown) this.#known.delete(key);
    return found;
  }
}
