/**
 * The requested protections and those in force, as reported by `/kwyre/status` and in errors that refuse a start.
 *
 * Source: docs/adr/0006-verdicts.md
 * @module
 */
import type { Layer } from './errors.ts';

/** The extent to which a requested protection is in force. */
type Extent = 'full' | 'partial' | 'none';

/** A protection of one process, as observed in this run. */
export type Enforcement = {
  /** Stable name, such as `landlock-files` or `no-new-privs`. */
  readonly feature: string;
  /** Anything less than full protection prevents the start if `required`, and is only reported if `preferred`. */
  readonly need: 'required' | 'preferred';
  readonly requested: string;
  readonly observed: string;
  readonly status: Extent;
  /** Why the protection is not full, and what would fix that; empty if it is full. */
  readonly reason: string;
};

/** The result of requesting a protection. */
export type Outcome = Pick<Enforcement, 'observed' | 'status'> & Partial<Pick<Enforcement, 'reason'>>;

/** `enforced` only if every check of the layer passed in this run. */
export type LayerStatus = 'enforced' | 'degraded' | 'off';

/** An observed fact about a layer. */
export type Check = {
  readonly id: string;
  readonly status: LayerStatus;
  /** The observation, in enough detail for the user to verify it. */
  readonly evidence: string;
  /** Unix time of the observation, in milliseconds. */
  readonly at: number;
};

/** A layer's entry in `GET /kwyre/status`. */
export type LayerReport = {
  readonly layer: Layer;
  readonly name: string;
  readonly status: LayerStatus;
  readonly checks: readonly Check[];
};

/** The names of the six layers, by number. */
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
 * Returns the report on one layer.
 * @param decisive - the checks that determine the layer's status (by default, all); the others are only shown
 */
export function layerReport(layer: Layer, checks: readonly Check[], decisive: readonly Check[] = checks): LayerReport {
  return { layer, name: layerNames[layer], status: worst(decisive), checks };
}
