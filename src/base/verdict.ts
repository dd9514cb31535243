/**
 * What was asked of the system and what was got: the vocabulary of `/kwyre/status` and of every refusal.
 *
 * Source: architecture decision `docs/adr/0006-verdicts.md`.
 * @module
 */
import type { Layer } from './errors.ts';

/** How much of an asked protection the kernel gave. */
export type Extent = 'full' | 'partial' | 'none';

/** One protection applied (or not) to one process, as observed in this run. */
export type Enforcement = {
  /** Stable name, e.g. `seccomp-seal`, `landlock-files`, `no-new-privs`. */
  readonly feature: string;
  /** `required`: less than full refuses the start; `preferred`: less than full is reported. */
  readonly need: 'required' | 'preferred';
  readonly asked: string;
  readonly got: string;
  readonly status: Extent;
  /** Why it is less than full and what would fix it; empty when full. */
  readonly reason: string;
};

/** What came of asking for one. */
export type Outcome = Pick<Enforcement, 'got' | 'status'> & Partial<Pick<Enforcement, 'reason'>>;

/** Whether a layer stands: `enforced` only if every required check was full in this run. */
export type LayerStatus = 'enforced' | 'degraded' | 'off';

/** One observed fact of a layer. */
export type Check = {
  readonly id: string;
  readonly status: LayerStatus;
  /** What was seen, in words a person can check. */
  readonly evidence: string;
  /** Unix time in milliseconds at which it was seen. */
  readonly at: number;
};

/** One layer's line in `GET /kwyre/status`. */
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

/** The worst status of a list; a layer without any check is `off`. */
export function worst(checks: readonly Check[]): LayerStatus {
  if (checks.length === 0 || checks.every((c) => c.status === 'off')) return 'off';
  return checks.every((c) => c.status === 'enforced') ? 'enforced' : 'degraded';
}
