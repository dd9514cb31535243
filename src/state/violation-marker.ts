/**
 * The marker showing that a violation shut the server down during this boot. While it exists, the server does not
 * start.
 *
 * It is written to the state folder. If that cannot be written (full, read-only, removed), the marker goes to a folder
 * in memory that lasts until the next boot, under a name derived from the path of the state folder. When the server
 * starts, it looks in all of these folders.
 *
 * Promise: it contains only metadata. A reboot or the operator's explicit acknowledgement clears it. Writing it never
 *          throws.
 * Limits:  folders that every user can write are the last resort; a file there counts only if it belongs to this user.
 * Proof:   test/unit/state/violation-marker.test.ts, test/attacks/x-disk.test.ts
 * @module
 */
import { lstatSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { readPrivate, removePrivate, writePrivate } from './state-directory.ts';

const { createHash } = process.getBuiltinModule('node:crypto');

/** The content of the marker. */
type Marker = {
  readonly bootId: string;
  readonly code: string;
  readonly detector: string;
  readonly pid: number;
  readonly uid: number;
  readonly name: string;
  readonly at: string;
};

const file = 'violation.json';

/** Returns the kernel's id for this boot. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/**
 * Returns the paths where the marker of a state folder may be, in order of preference. The folders do not depend on how
 * the server was started, because it may next be started by another login session or by a service manager.
 * @param directory - the state folder, which must exist
 */
export function markerPaths(
  directory: string,
  uid: number,
  folders: readonly string[] = ['/run/kwyre', `/run/user/${uid}`, ...(uid === 0 ? ['/run'] : []), '/dev/shm', '/tmp'],
): readonly [string, ...string[]] {
  const digest = createHash('sha256').update(realpathSync(directory)).digest('hex');
  const name = `kwyre-violation-${uid}-${digest.slice(0, 32)}.json`;
  return [join(directory, file), ...folders.map((folder) => join(folder, name))];
}

/**
 * Writes the marker to the first writable path.
 * @returns that path, or `undefined` if there is none
 */
export function markViolation(
  paths: readonly string[],
  violation: Omit<Marker, 'bootId' | 'at'>,
  bootId: string,
): string | undefined {
  const { code, detector, pid, uid, name } = violation;
  const marker: Marker = { bootId, code, detector, pid, uid, name, at: new Date().toISOString() };
  const text = `${JSON.stringify(marker)}\n`;
  return paths.find((path) => {
    try {
      writePrivate(path, text);
      return true;
    } catch {
      return false; // full, read-only, removed, or owned by another user
    }
  });
}

/** Returns whether this user owns the file; other users can put files into shared folders. */
function isOwn(path: string): boolean {
  try {
    return lstatSync(path).uid === process.getuid?.();
  } catch {
    return false;
  }
}

function parseMarker(text: string): Marker {
  const damaged: Marker = { bootId: '', code: 'L6_MARKER_DAMAGED', detector: '?', pid: 0, uid: -1, name: '?', at: '?' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return damaged;
  }
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Partial<Record<keyof Marker, unknown>>;
  const { bootId, code, detector, pid, uid, name, at } = fields;
  if (
    typeof bootId !== 'string' ||
    typeof code !== 'string' ||
    typeof detector !== 'string' ||
    typeof pid !== 'number' ||
    typeof uid !== 'number' ||
    typeof name !== 'string' ||
    typeof at !== 'string'
  )
    return damaged;
  return { bootId, code, detector, pid, uid, name, at };
}

/**
 * Returns this boot's violation, if any. A damaged marker counts as a violation, so damaging it does not clear it.
 * @internal
 */
export function readViolation([first, ...others]: readonly [string, ...string[]], bootId: string): Marker | undefined {
  return [first, ...others.filter(isOwn)]
    .map(readPrivate)
    .flatMap((text) => (text === undefined ? [] : [parseMarker(text)]))
    .find((marker) => marker.code === 'L6_MARKER_DAMAGED' || marker.bootId === bootId);
}

/** Removes the marker. @throws `STATE_UNWRITABLE` @internal */
export function clearViolation([first, ...others]: readonly [string, ...string[]]): void {
  for (const path of [first, ...others.filter(isOwn)]) removePrivate(path);
}

/**
 * Refuses to start after a violation during this boot, unless it is acknowledged. Removes a marker from an earlier
 * boot.
 * @throws `L6_VIOLATION_STANDS`
 */
export function assertNoViolation(paths: readonly [string, ...string[]], bootId: string, acknowledged: boolean): void {
  const marker = readViolation(paths, bootId);
  if (marker === undefined || acknowledged) {
    clearViolation(paths);
    return;
  }
  throw new KwyreError(
    'L6_VIOLATION_STANDS',
    `a violation ended the server at ${marker.at}: ${marker.code}, detector ${marker.detector}, ` +
      `${marker.name} (pid ${marker.pid}, uid ${marker.uid})`,
    'find out what happened; then start with ./kwyre serve --acknowledge-violation',
  );
}
