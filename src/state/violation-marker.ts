/**
 * The marker that a violation ended the server in this boot: it does not come back by itself until told to.
 *
 * It lies in the state folder; where that cannot be written (a full disk, a read-only one, a folder that was removed)
 * in a folder of this boot in memory, under a name made from the path of the state folder. A start looks in all of
 * them.
 *
 * Promise: metadata only; a restart of the machine makes it void, and so does an explicit word of the operator. Leaving
 *          it never throws.
 * Limits:  folders that everybody may write to are the last ones; a file there counts only when it is ours.
 * Proof:   test/unit/state/violation-marker.test.ts, test/attacks/x-disk.test.ts
 * @module
 */
import { createHash } from 'node:crypto';
import { lstatSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { readPrivate, removePrivate, writePrivate } from './state-directory.ts';

/** What the marker holds. */
export type Marker = {
  readonly bootId: string;
  readonly code: string;
  readonly detector: string;
  readonly pid: number;
  readonly uid: number;
  readonly name: string;
  readonly at: string;
};

const file = 'violation.json';

/** This boot of the machine, by the kernel's own id. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/**
 * Where the marker of a state folder may lie, the first choice first. The folders do not depend on how the server was
 * started: the next start may be another user session's or a service manager's.
 * @param directory - the state folder, which exists now
 */
export function markerPaths(
  directory: string,
  uid: number,
  folders: readonly string[] = ['/run/kwyre', `/run/user/${uid}`, ...(uid === 0 ? ['/run'] : []), '/dev/shm', '/tmp'],
): readonly [string, ...string[]] {
  const name = `kwyre-violation-${uid}-${createHash('sha256').update(realpathSync(directory)).digest('hex').slice(0, 32)}.json`;
  return [join(directory, file), ...folders.map((folder) => join(folder, name))];
}

/** Leaves the marker at the first of the places that takes it, and says where; `undefined` when none does. */
export function markViolation(
  paths: readonly string[],
  violation: Omit<Marker, 'bootId' | 'at'>,
  bootId: string,
): string | undefined {
  const { code, detector, pid, uid, name } = violation;
  const text = `${JSON.stringify({ bootId, code, detector, pid, uid, name, at: new Date().toISOString() } satisfies Marker)}\n`;
  return paths.find((path) => {
    try {
      writePrivate(path, text);
      return true;
    } catch {
      return false; // full, read-only, removed, or somebody else's
    }
  });
}

/** Whether a file of this user is there; what others put into folders of everybody is none of ours. */
function isOurs(path: string): boolean {
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
 * The violation of this boot, or `undefined`. A marker that cannot be read as one of ours counts as one: whoever
 * damages it does not thereby remove it.
 */
export function readViolation([first, ...others]: readonly [string, ...string[]], bootId: string): Marker | undefined {
  return [first, ...others.filter(isOurs)]
    .map(readPrivate)
    .flatMap((text) => (text === undefined ? [] : [parseMarker(text)]))
    .find((marker) => marker.code === 'L6_MARKER_DAMAGED' || marker.bootId === bootId);
}

/** Takes the marker away: the operator said so, or the machine was started anew. @throws `STATE_UNWRITABLE` */
export function clearViolation([first, ...others]: readonly [string, ...string[]]): void {
  for (const path of [first, ...others.filter(isOurs)]) removePrivate(path);
}

/**
 * Refuses a start after a violation in this boot, unless acknowledged; a marker of an earlier boot is taken away.
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
    `a violation ended the server at ${marker.at}: ${marker.code}, detector ${marker.detector}, ${marker.name} (pid ${marker.pid}, uid ${marker.uid})`,
    'find out what that was; then start again with ./kwyre serve --acknowledge-violation',
  );
}
