/**
 * The requested protections and those in force, as `/kwyre/status` and refusals report them.
 *
 * Source: docs/adr/0006-verdicts.md
 * @module
 */
import type { Layer } from './errors.ts';

/** How much of a requested protection is in force. */
type Extent = 'full' | 'partial' | 'none';

/** A protection of one process, as observed in this run. */
export type Enforcement = {
  /** Stable name, such as `landlock-files` or `no-new-privs`. */
  readonly feature: string;
  /** Less than full prevents the start if `required`, and is reported if `preferred`. */
  readonly need: 'required' | 'preferred';
  readonly requested: string;
  readonly observed: string;
  readonly status: Extent;
  /** Why it is not full and what would fix it; empty if it is. */
  readonly reason: string;
};

/** The result of requesting a protection. */
export type Outcome = Pick<Enforcement, 'observed' | 'status'> & Partial<Pick<Enforcement, 'reason'>>;

/** `enforced` only if every check of the layer passed in this run. */
export type LayerStatus = 'enforced' | 'degraded' | 'off';

/** An observed fact of a layer. */
export type Check = {
  readonly id: string;
  readonly status: LayerStatus;
  /** What was observed, so that a person can check it. */
  readonly evidence: string;
  /** Unix time of the observation in milliseconds. */
  readonly at: number;
};

/** A layer's entry in `GET /kwyre/status`. */
export type LayerReport = {
  readonly layer: Layer;
  readonly name: string;
  readonly status: LayerStatus;
  readonly checks: readonly Check[];
};

/** Names of the six layers, by number. */
export const layerNames: Readonly<Record<Layer, string>> = {
  1: 'loopback binding',
  2: 'process network isolation',
  3: 'dependency integrity',
  4: 'model weight integrity',
  5: 'secure conversation buffer',
  6: 'intrusion watchdog',
};

/** Returns the status of a layer: `off` without checks, `degraded` unless all are `enforced`. */
export function worst(checks: readonly Check[]): LayerStatus {
  if (checks.length === 0 || checks.every((c) => c.status === 'off')) return 'off';
  return checks.every((c) => c.status === 'enforced') ? 'enforced' : 'degraded';
}

/**
 * The report of one layer.
 * @param decisive - the checks that decide the status of the layer; the others are only shown. All of them by default.
 */
export function layerReport(layer: Layer, checks: readonly Check[], decisive: readonly Check[] = checks): LayerReport {
  return { layer, name: layerNames[layer], status: worst(decisive), checks };
}
