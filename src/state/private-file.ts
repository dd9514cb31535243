/**
 * Reads, replaces and appends to files that other users must not influence: state, signatures, trust files, records.
 *
 * Promise: a symbolic link as the last part of a path is never followed. A FIFO or device is never read and never
 *          blocks the caller. Reads are limited in size. A file is replaced in one step by a new file with an
 *          unpredictable temporary name, so readers see either the old text or the new text. A failed write leaves the
 *          old text in place and no temporary file behind.
 * Limits:  symbolic links above the file are followed; callers check them with `path-writers.ts` where another user
 *          could write them. A process that is killed while writing leaves its temporary file behind.
 * Source:  open(2), rename(2)
 * Proof:   test/unit/state/private-file.test.ts
 * @module
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';

const { randomBytes } = process.getBuiltinModule('node:crypto');

/** The conditions that a file must meet to be read. */
type ReadRule = {
  /** The only user who may own the file; any user if omitted. */
  readonly owner?: number;
  /** Mode bits that must not be set. */
  readonly forbiddenMode?: number;
  readonly maxBytes: number;
};

/** The content of a file, or why it was not read. */
type SafeRead =
  | { readonly state: 'read'; readonly bytes: Buffer }
  | { readonly state: 'absent' }
  /** The file is not a regular file, or its owner, mode or size breaks the rule. */
  | { readonly state: 'unsafe'; readonly why: 'kind' | 'owner' | 'mode' | 'size' }
  /** The kernel returned this error code. */
  | { readonly state: 'failed'; readonly code: string };

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'error';

/** Reads to the end of a file, or one byte more than `maxBytes`: a file may grow while it is read. */
function readAtMost(fd: number, size: number, maxBytes: number): Buffer {
  const chunks: Buffer[] = [];
  let total = 0;
  let want = Math.min(size, maxBytes) + 1;
  while (total <= maxBytes) {
    const chunk = Buffer.alloc(Math.min(want, maxBytes + 1 - total));
    const got = readSync(fd, chunk);
    if (got === 0) break;
    chunks.push(chunk.subarray(0, got));
    total += got;
    want = 64 * 1024;
  }
  return Buffer.concat(chunks);
}

/** Reads a whole file that satisfies `rule`. Never throws; a symbolic link is reported as `ELOOP`. */
export function readSafely(path: string, rule: ReadRule): SafeRead {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const code = codeOf(error);
    return code === 'ENOENT' ? { state: 'absent' } : { state: 'failed', code };
  }
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile()) return { state: 'unsafe', why: 'kind' };
    if (rule.owner !== undefined && facts.uid !== rule.owner) return { state: 'unsafe', why: 'owner' };
    if ((facts.mode & (rule.forbiddenMode ?? 0)) !== 0) return { state: 'unsafe', why: 'mode' };
    if (facts.size > rule.maxBytes) return { state: 'unsafe', why: 'size' };
    const bytes = readAtMost(fd, facts.size, rule.maxBytes);
    return bytes.length > rule.maxBytes ? { state: 'unsafe', why: 'size' } : { state: 'read', bytes };
  } catch (error) {
    return { state: 'failed', code: codeOf(error) };
  } finally {
    closeSync(fd);
  }
}

type NewFile = {
  readonly mode: number;
  /** The file's owner; the calling user if omitted. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** Whether the content must be on disk before the name points to it, for content that cannot be recreated. */
  readonly durable?: boolean;
};

/** Creates or replaces a file in one step. @throws the kernel's error; the previous file is then untouched */
export function replaceAtomically(path: string, text: string, { mode, owner, durable = false }: NewFile): void {
  const temporary = `${path}.${randomBytes(12).toString('hex')}.new`;
  const fd = openSync(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    try {
      writeFileSync(fd, text);
      if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
      fchmodSync(fd, mode); // regardless of the umask
      if (durable) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // The folder is no longer writable; the error below reports it.
    }
    throw error;
  }
}

/**
 * Appends whole lines to a regular file, which is created with `mode` if it is absent. A line that does not fit is not
 * written at all.
 * @throws the kernel's error, or `EINVAL` if the path is not a regular file
 */
export function appendSafely(path: string, lines: string, mode: number): void {
  const fd = openSync(
    path,
    constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    mode,
  );
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile()) throw Object.assign(new Error('not a regular file'), { code: 'EINVAL' });
    try {
      if (facts.size === 0) fchmodSync(fd, mode); // regardless of the umask
      writeFileSync(fd, lines);
    } catch (error) {
      ftruncateSync(fd, facts.size);
      throw error;
    }
  } finally {
    closeSync(fd);
  }
}
