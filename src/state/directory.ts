/**
 * The state folder: token, named tokens, event log, and where a running server can be found. Never a conversation.
 *
 * Promise: the folder is 0700 and its files 0600, owned by the caller; a symbolic link or a foreign owner is refused.
 * @module
 */
import { closeSync, constants, fchmodSync, fstatSync, lstatSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KwyreError } from '../base/errors.ts';

/** The default folder: `$XDG_STATE_HOME/kwyre`, else `~/.local/state/kwyre`. */
export function defaultStateDirectory(env: NodeJS.ProcessEnv): string {
  const base = env['XDG_STATE_HOME'];
  return base !== undefined && base.startsWith('/') ? join(base, 'kwyre') : join(env['HOME'] ?? '/', '.local', 'state', 'kwyre');
}

/** Makes the folder if need be and checks that nobody else can reach into it. @throws `L1_STATE_UNSAFE` */
export function openState(directory: string): string {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch {
    throw new KwyreError('STATE_UNWRITABLE', `cannot make the state folder ${directory}`, 'choose another with --state DIR');
  }
  const facts = lstatSync(directory);
  if (!facts.isDirectory() || facts.uid !== process.getuid?.() || (facts.mode & 0o077) !== 0) {
    throw new KwyreError('L1_STATE_UNSAFE', `the state folder ${directory} is open to other users or belongs to one`, `chmod 700 ${directory}, or choose another with --state DIR`);
  }
  return directory;
}

/** Replaces one of our own files in one step. */
export function writePrivate(path: string, text: string): void {
  const fresh = `${path}.${process.pid}`;
  rmSync(fresh, { force: true });
  const fd = openSync(fresh, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    fchmodSync(fd, 0o600);
    writeFileSync(fd, text);
  } finally {
    closeSync(fd);
  }
  renameSync(fresh, path);
}

/** Why one of our own files could not be opened: the way to it, or the file itself. */
function unreadable(path: string, code: string): KwyreError {
  const folder = dirname(path);
  if (code === 'ENOTDIR') return new KwyreError('STATE_UNREADABLE', `the state folder ${folder} is no folder, or something on the way to it is none`, 'choose another with --state DIR');
  if (code === 'EACCES' || code === 'EPERM') {
    try {
      lstatSync(path);
    } catch {
      return new KwyreError('STATE_UNREADABLE', `this user may not enter the state folder ${folder}`, 'run this as the user who owns it, or choose another with --state DIR');
    }
    return new KwyreError('STATE_UNREADABLE', `this user may not read ${path}`, `chmod 600 ${path} if it is yours, or choose another folder with --state DIR`);
  }
  return new KwyreError('L1_STATE_UNSAFE', `cannot read ${path} (${code})`, 'it must be a plain file of yours; remove it and start again');
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
      throw new KwyreError('L1_STATE_UNSAFE', `${path} is open to other users`, `chmod 600 ${path}, then make new tokens: they may have been read`);
    }
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}
