/**
 * The marker that a violation ended the server in this boot: it does not come back by itself until told to.
 *
 * Promise: metadata only; a restart of the machine makes it void, and so does an explicit word of the operator.
 * Proof:   test/unit/state/violation.test.ts
 * @module
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { readPrivate, writePrivate } from './directory.ts';

/** What the marker holds. */
export type Marker = { readonly bootId: string; readonly code: string; readonly detector: string; readonly pid: number; readonly uid: number; readonly name: string; readonly at: string };

const file = 'violation.json';

/** This boot of the machine, by the kernel's own id. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** Leaves the marker. */
export function markViolation(directory: string, violation: Omit<Marker, 'bootId' | 'at'>, bootId: string): void {
  const { code, detector, pid, uid, name } = violation;
  writePrivate(join(directory, file), `${JSON.stringify({ bootId, code, detector, pid, uid, name, at: new Date().toISOString() } satisfies Marker)}\n`);
}

/**
 * The violation of this boot, or `undefined`. A marker that cannot be read as one of ours counts as one: whoever
 * damages it does not thereby remove it.
 */
export function readViolation(directory: string, bootId: string): Marker | undefined {
  const text = readPrivate(join(directory, file));
  if (text === undefined) return undefined;
  const damaged: Marker = { bootId, code: 'L6_MARKER_DAMAGED', detector: '?', pid: 0, uid: -1, name: '?', at: '?' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return damaged;
  }
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Partial<Record<keyof Marker, unknown>>;
  const { bootId: boot, code, detector, pid, uid, name, at } = fields;
  if (typeof boot !== 'string' || typeof code !== 'string' || typeof detector !== 'string' || typeof pid !== 'number' || typeof uid !== 'number' || typeof name !== 'string' || typeof at !== 'string') return damaged;
  return boot === bootId ? { bootId: boot, code, detector, pid, uid, name, at } : undefined;
}

/** Takes the marker away: the operator said so, or the machine was started anew. */
export function clearViolation(directory: string): void {
  rmSync(join(directory, file), { force: true });
}

/**
 * Refuses a start after a violation in this boot, unless acknowledged; a marker of an earlier boot is taken away.
 * @throws `L6_VIOLATION_STANDS`
 */
export function assertNoViolation(directory: string, bootId: string, acknowledged: boolean): void {
  const marker = readViolation(directory, bootId);
  if (marker === undefined || acknowledged) {
    clearViolation(directory);
    return;
  }
  throw new KwyreError(
    'L6_VIOLATION_STANDS',
    `a violation ended the server at ${marker.at}: ${marker.code}, detector ${marker.detector}, ${marker.name} (pid ${marker.pid}, uid ${marker.uid})`,
    'find out what that was; then start again with ./kwyre serve --acknowledge-violation',
  );
}
