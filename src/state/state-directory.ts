/**
 * The state folder: token, named tokens, event log, and the location of a running server. Never a conversation.
 *
 * Promise: the folder has mode 0700 and its files 0600, and the caller owns them. The folder is refused if it is a
 *          symbolic link or has another owner, or if another user could replace it in a parent folder.
 * Proof:   test/unit/state/private-file.test.ts
 * @module
 */
import * as fs from 'node:fs';
import type { Stats } from 'node:fs';
import { lstatSync, unlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { makeFolders } from '../linux/files/make-folders.ts';
import { describeGrant, mendingOf, sortWriters, writersOf } from '../linux/files/path-writers.ts';
import { readSafely, replaceAtomically } from './private-file.ts';

/** The largest file in the folder is a model record, whose parser has the same limit. */
const maxPrivateBytes = 96 << 20;

/** Returns the default folder: `$XDG_STATE_HOME/kwyre`, or else `~/.local/state/kwyre`. */
export function defaultStateDirectory(env: NodeJS.ProcessEnv): string {
  const base = env['XDG_STATE_HOME'];
  return base !== undefined && base.startsWith('/')
    ? join(base, 'kwyre')
    : join(env['HOME'] ?? '/', '.local', 'state', 'kwyre');
}

/** Remedies, keyed by the kernel's error code. */
const remedies: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: free some space there',
  EDQUOT: 'the disk quota of this user is used up: free some space there',
  EROFS: 'the file system is read-only: remount it read-write',
  EFBIG: 'raise the file size limit (ulimit -f)',
  EIO: 'the disk has errors: read the kernel log (dmesg)',
};

/** Returns the error for something in the state folder that cannot be written. */
export function unwritable(what: string, error: unknown): KwyreError {
  const code = (error as NodeJS.ErrnoException).code ?? 'error';
  return new KwyreError(
    'STATE_UNWRITABLE',
    `cannot write ${what} (${code})`,
    `${remedies[code] ?? 'make it writable for the user who runs the server'}, or choose another folder with ` +
      '--state DIR',
  );
}

/**
 * Creates the folder if it is absent, and checks that no other user can read, change or replace it.
 * @returns the folder
 * @throws `L1_STATE_UNSAFE`, `STATE_UNWRITABLE`
 */
export function openState(directory: string): string {
  let facts: Stats;
  try {
    makeFolders(resolve(directory), 0o700);
    facts = lstatSync(directory);
  } catch (error) {
    throw unwritable(`the state folder ${directory}`, error);
  }
  if (!facts.isDirectory() || facts.uid !== process.getuid?.() || (facts.mode & 0o077) !== 0) {
    throw new KwyreError(
      'L1_STATE_UNSAFE',
      `the state folder ${directory} belongs to another user or is open to others`,
      `chmod 700 ${directory}, or choose another folder with --state DIR`,
    );
  }
  const { others } = sortWriters(writersOf(fs, [directory]), facts.uid, fs);
  const [first] = others;
  if (first !== undefined)
    throw new KwyreError(
      'L1_STATE_UNSAFE',
      `other users could replace the state folder: ${first.path} (${describeGrant(first)})`,
      `as root: ${mendingOf(others)}; or choose another folder with --state DIR`,
    );
  return directory;
}

/** Replaces a private file in one step; if that fails, the previous one stays. @throws `STATE_UNWRITABLE` */
export function writePrivate(path: string, text: string, { durable = false } = {}): void {
  try {
    replaceAtomically(path, text, { mode: 0o600, durable });
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** Removes a private file if it exists. @throws `STATE_UNWRITABLE` */
export function removePrivate(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unwritable(path, error);
  }
}

/** Returns the error for a private file that cannot be opened, because of the file or of a folder above it. */
function unreadable(path: string, code: string): KwyreError {
  const folder = dirname(path);
  if (code === 'ENOTDIR')
    return new KwyreError(
      'STATE_UNREADABLE',
      `${folder} is not a folder, or something above it is not`,
      'choose another folder with --state DIR',
    );
  if (code === 'EACCES' || code === 'EPERM') {
    try {
      lstatSync(path);
    } catch {
      return new KwyreError(
        'STATE_UNREADABLE',
        `you may not enter the state folder ${folder}`,
        'run the command as its owner, or choose another folder with --state DIR',
      );
    }
    return new KwyreError(
      'STATE_UNREADABLE',
      `you may not read ${path}`,
      `if the file is yours: chmod 600 ${path}; or choose another folder with --state DIR`,
    );
  }
  return new KwyreError(
    'L1_STATE_UNSAFE',
    `cannot read ${path} (${code})`,
    `it must be a regular file that you own: remove ${path} and run the command again`,
  );
}

/** Returns the text of a private file; `undefined` if there is none. @throws `L1_STATE_UNSAFE`, `STATE_UNREADABLE` */
export function readPrivate(path: string): string | undefined {
  const read = readSafely(path, { owner: process.getuid?.() ?? -1, forbiddenMode: 0o077, maxBytes: maxPrivateBytes });
  switch (read.state) {
    case 'read':
      return read.bytes.toString('utf8');
    case 'absent':
      return undefined;
    case 'failed':
      throw unreadable(path, read.code);
    case 'unsafe':
      throw read.why === 'owner' || read.why === 'mode'
        ? new KwyreError(
            'L1_STATE_UNSAFE',
            `other users can read or change ${path}`,
            `chmod 600 ${path}, then create new tokens: the old ones may have been read`,
          )
        : new KwyreError(
            'L1_STATE_UNSAFE',
            `${path} is ${read.why === 'kind' ? 'not a regular file' : 'too large'}`,
            `remove ${path} and run the command again`,
          );
  }
}
