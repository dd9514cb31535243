/**
 * Files owned by root that every user may read, and files that root reads and writes in other users' folders.
 *
 * Promise: only root can have written the text that `readRootText` returns, because no other user can write the file or
 *          a folder above it.
 * Proof:   test/attacks/2-isolate.test.ts, test/attacks/3-system.test.ts
 * @module
 */
import * as fs from 'node:fs';
import type { Stats } from 'node:fs';
import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { mendingOf, writersOf } from '../linux/files/path-writers.ts';
import { readSafely, replaceAtomically } from './private-file.ts';

const maxTextBytes = 1 << 20;
/** The largest trust file that its parser accepts. */
const maxTrustBytes = 4 << 20;

/** Returns the text of a regular file with any owner; `undefined` if it is absent, unreadable or over 1 MiB. */
export function readRegularText(path: string): string | undefined {
  const read = readSafely(path, { maxBytes: maxTextBytes });
  return read.state === 'read' ? read.bytes.toString('utf8') : undefined;
}

/**
 * Returns the `lstat` of a file owned by root; `undefined` only if it does not exist. An error never counts as absence.
 * @throws an error with the given code
 */
export function rootFacts(path: string, code: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code ?? 'error';
    if (errno === 'ENOENT') return undefined;
    throw unreadable(path, code, errno);
  }
}

function unreadable(path: string, code: string, errno: string): KwyreError {
  return new KwyreError(
    code,
    `cannot read ${path} (${errno})`,
    `as root: chmod 755 ${dirname(path)}; chmod 644 ${path}; the file contains no secrets`,
  );
}

/**
 * Returns the text of a file that only root can have written; `undefined` if there is none.
 * @param unsafeCode - error code if another user can write it
 * @param unreadableCode - error code if this user cannot read it
 */
export function readRootText(path: string, unsafeCode: string, unreadableCode = unsafeCode): string | undefined {
  if (rootFacts(path, unreadableCode) === undefined) return undefined;
  const writers = writersOf(fs, [path]);
  const unsafe = () =>
    new KwyreError(
      unsafeCode,
      `${path} must be a regular file that only root can write, in folders that only root can write`,
      `as root: ${writers.length > 0 ? mendingOf(writers) : `ls -l ${path}, then restore the file or remove it`}`,
    );
  if (writers.length > 0) throw unsafe();
  const read = readSafely(path, { owner: 0, maxBytes: maxTrustBytes });
  switch (read.state) {
    case 'read':
      return read.bytes.toString('utf8');
    case 'absent':
      return undefined;
    case 'unsafe':
      throw unsafe();
    case 'failed':
      throw read.code === 'ELOOP' ? unsafe() : unreadable(path, unreadableCode, read.code);
  }
}

/** Creates or replaces a file owned by root in one step, with its owner and mode from the start. */
export function replaceRootFile(
  path: string,
  text: string,
  mode: number,
  owner: { readonly uid: number; readonly gid: number } = { uid: 0, gid: 0 },
): void {
  replaceAtomically(path, text, { mode, owner, durable: true });
}
