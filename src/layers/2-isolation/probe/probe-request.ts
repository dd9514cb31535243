/**
 * The request that a probe receives through the jail stage, as JSON.
 *
 * Proof: test/unit/layers/2-probe-request.test.ts
 * @module
 */
import { KwyreError } from '../../../base/errors.ts';
import type { Address } from '../../../linux/procfs/unused-address.ts';

/** The targets of a probe: addresses and ports of this machine. */
export type ProbeTargets = {
  readonly machine: Address;
  readonly closedPort: number;
  /** A loopback port that a process listens on. */
  readonly servedPort: number;
};

/** The instructions for one probe. */
export type ProbeRequest = ProbeTargets & {
  /** Ids of attempts. */
  readonly attempts: readonly string[];
  /** Features that the jail leaves out, so that one mechanism can be tested alone. */
  readonly without: readonly string[];
  /** Whether the filter keeps its kill action; if not, it returns an error instead, so that the probe can report. */
  readonly deadly: boolean;
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

/** Parses a request. @throws `L2_PROBE_FAILED` if it is malformed */
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
  throw new KwyreError('L2_PROBE_FAILED', 'the probe request is malformed', 'report this as a bug in Kwyre');
}
