/**
 * What a probe is told, on its way through the jail stage.
 *
 * Proof: test/unit/layers/2-probe-request.test.ts
 * @module
 */
import { KwyreError } from '../../../base/errors.ts';
import type { Address } from '../../../linux/procfs/unused-address.ts';

/** One probe's work. */
export type ProbeRequest = {
  readonly attempts: readonly string[];
  /** Features of the jail that are left out, so that the others stand alone. */
  readonly without: readonly string[];
  /** Whether a forbidden call kills, as it kills a role; else the filter answers. */
  readonly deadly: boolean;
  readonly machine: Address;
  readonly closedPort: number;
  readonly servedPort: number;
};

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isPort = (value: unknown): boolean =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 65_536;
const areWords = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length <= 64 &&
  value.every((word) => typeof word === 'string' && /^[a-z0-9-]{1,32}$/.test(word));

/** @throws `L2_PROBE_FAILED` */
export function parseProbeRequest(text: string): ProbeRequest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const machine: unknown = isRecord(value) ? value['machine'] : undefined;
  if (
    isRecord(value) &&
    areWords(value['attempts']) &&
    areWords(value['without']) &&
    typeof value['deadly'] === 'boolean' &&
    isPort(value['closedPort']) &&
    isPort(value['servedPort']) &&
    Array.isArray(machine) &&
    machine.length === 4 &&
    machine.every((byte) => Number.isInteger(byte) && (byte as number) >= 0 && (byte as number) < 256)
  )
    return value as ProbeRequest;
  throw new KwyreError('L2_PROBE_FAILED', 'the probe was not told what to try', 'this is a fault of Kwyre');
}
