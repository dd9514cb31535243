/**
 * The state folder: token, named tokens, event log, and where a running server can be found. Never a conversation.
 *
 * Promise: the folder is 0700 and its files 0600, owned by the caller; a symbolic link or a foreign owner is refused,
 *          and so is a place where others could put another folder under its name.
 * @module
 */
import * as fs from 'node:fs';
import type { Stats } from 'node:fs';
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { makeFolders } from '../linux/files/make-folders.ts';
import { describeGrant, mendingOf, sortWriters, writersOf } from '../linux/files/path-writers.ts';

/** The default folder: `$XDG_STATE_HOME/kwyre`, else `~/.local/state/kwyre`. */
export function defaultStateDirectory(env: NodeJS.ProcessEnv): string {
  const base = env['XDG_STATE_HOME'];
  return base !== undefined && base.startsWith('/')
    ? join(base, 'kwyre')
    : join(env['HOME'] ?? '/', '.local', 'state', 'kwyre');
}

const mends: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: free some space there',
  EDQUOT: 'the quota of this user is used up: free some space there',
  EROFS: 'the file system is read-only: mount it for writing',
  EFBIG: 'raise the limit on the size of files (ulimit -f)',
  EIO: 'the disk fails: look at the kernel log',
};

/** Why something in the state folder could not be written, with what mends it. */
export function unwritable(what: string, error: unknown): KwyreError {
  const code = (error as NodeJS.ErrnoException).code ?? 'error';
  return new KwyreError(
    'STATE_UNWRITABLE',
    `cannot write ${what} (${code})`,
    `${mends[code] ?? 'make it writable for the user who starts the server'}, or choose another folder with --state DIR`,
  );
}

/**
 * Makes the folder if need be and checks that nobody else can reach into it. @throws `L1_STATE_UNSAFE`,
 * `STATE_UNWRITABLE`
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
      `the state folder ${directory} is open to other users or belongs to one`,
      `chmod 700 ${directory}, or choose another with --state DIR`,
    );
  }
  const { others } = sortWriters(writersOf(fs, [directory]), facts.uid, fs);
  const [first] = others;
  if (first !== undefined)
    throw new KwyreError(
      'L1_STATE_UNSAFE',
      `others could put another folder in the place of the state folder: ${first.path} (${describeGrant(first)})`,
      `as root: ${mendingOf(others)}; or choose another place with --state DIR`,
    );
  return directory;
}

/**
 * What lies at a path of root's; `undefined` only where the kernel says that nothing does: what cannot be seen is not
 * absent.
 * @throws an error with the given code
 */
export function rootFacts(path: string, code: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unreadableRoot(path, code, error);
  }
}

/** A file of root's that everybody has to read, and this user cannot. */
export function unreadableRoot(path: string, code: string, error: unknown): KwyreError {
  return new KwyreError(
    code,
    `cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
    `as root: chmod 755 ${dirname(path)}; chmod 644 ${path}; what lies there is public`,
  );
}

/** Replaces one of our own files in one step; a failure leaves the former one. @throws `STATE_UNWRITABLE` */
export function writePrivate(path: string, text: string): void {
  const fresh = `${path}.${process.pid}`;
  try {
    rmSync(fresh, { force: true });
    const fd = openSync(fresh, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    try {
      fchmodSync(fd, 0o600);
      writeFileSync(fd, text);
    } finally {
      closeSync(fd);
    }
    renameSync(fresh, path);
  } catch (error) {
    try {
      rmSync(fresh, { force: true });
    } catch {
      // What cannot be written cannot be removed either; the error below says so.
    }
    throw unwritable(path, error);
  }
}

/** Removes one of our own files; one that is not there is fine. @throws `STATE_UNWRITABLE` */
export function removePrivate(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unwritable(path, error);
  }
}

/** Why one of our own files could not be opened: the way to it, or the file itself. */
function unreadable(path: string, code: string): KwyreError {
  const folder = dirname(path);
  if (code === 'ENOTDIR')
    return new KwyreError(
      'STATE_UNREADABLE',
      `the state folder ${folder} is no folder, or something on the way to it is none`,
      'choose another with --state DIR',
    );
  if (code === 'EACCES' || code === 'EPERM') {
    try {
      lstatSync(path);
    } catch {
      return new KwyreError(
        'STATE_UNREADABLE',
        `this user may not enter the state folder ${folder}`,
        'run this as the user who owns it, or choose another with --state DIR',
      );
    }
    return new KwyreError(
      'STATE_UNREADABLE',
      `this user may not read ${path}`,
      `chmod 600 ${path} if it is yours, or choose another folder with --state DIR`,
    );
  }
  return new KwyreError(
    'L1_STATE_UNSAFE',
    `cannot read ${path} (${code})`,
    'it must be a plain file of yours; remove it and start again',
  );
}

/** Reads one of our own files; `undefined` when there is none. @throws `L1_STATE_UNSAFE`, `STATE_UNREADABLE` */
export function readPrivate(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unreadable(path, (error as NodeJS.ErrnoException).code ?? 'error');
  }
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile() || facts.uid !== process.getuid?.() || (facts.mode & 0o077) !== 0) {
      throw new KwyreError(
        'L1_STATE_UNSAFE',
        `${path} is open to other users`,
        `chmod 600 ${path}, then make new tokens: they may have been read`,
      );
    }
    return readFileSync(fd, 'utf8');
  } catch (error) {
    if (error instanceof KwyreError) throw error;
    throw new KwyreError(
      'L1_STATE_UNSAFE',
      `cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      'it must be a plain file of yours; remove it and start again',
    );
  } finally {
    closeSync(fd);
  }
}
