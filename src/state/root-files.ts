/**
 * Files of root's that every user of the machine may read, and files that root reads in folders of others.
 *
 * Promise: what is read as root's can have been written by root alone, folders above it included; no symbolic link is
 *          followed at the last step, and a file is replaced in one step, never written through.
 * Proof:   test/attacks/2-isolate.test.ts
 * @module
 */
import * as fs from 'node:fs';
import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { KwyreError } from '../base/errors.ts';
import { mendingOf, writersOf } from '../linux/files/path-writers.ts';

const mostBytes = 1 << 20;

/** The text of a plain file, whoever owns it; `undefined` when there is none, or it is something else. */
export function readPlainText(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    const facts = fstatSync(fd);
    return facts.isFile() && facts.size <= mostBytes ? readFileSync(fd, 'utf8') : undefined;
  } finally {
    closeSync(fd);
  }
}

/** The text of a file that only root can have written; `undefined` when there is none. @throws `L2_ISOLATE_RECORD` */
export function readRootText(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const writers = writersOf(fs, [path]);
  const unsafe = () =>
    new KwyreError(
      'L2_ISOLATE_RECORD',
      `${path} is not a plain file that only root may write, with all folders above it`,
      `look at it; as root: ${writers.length > 0 ? mendingOf(writers) : `chown root:root ${path}`}`,
    );
  if (writers.length > 0) throw unsafe();
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    throw unsafe();
  }
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile() || facts.uid !== 0 || facts.size > mostBytes) throw unsafe();
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

/** Makes or replaces a file in one step, with its owner and mode from the start. */
export function replaceFile(
  path: string,
  text: string,
  mode: number,
  owner: { readonly uid: number; readonly gid: number } = { uid: 0, gid: 0 },
): void {
  const fresh = `${path}.kwyre-new`;
  rmSync(fresh, { force: true });
  const fd = openSync(fresh, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    writeFileSync(fd, text);
    fchownSync(fd, owner.uid, owner.gid);
    fchmodSync(fd, mode);
  } finally {
    closeSync(fd);
  }
  try {
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
}
