/**
 * Reads files for verification: lists a tree and hashes the bytes behind one descriptor.
 *
 * Promise: symbolic links are never followed (`O_NOFOLLOW`), and only regular files are read. Names are read as bytes,
 *          and owners and modes are checked. A digest covers the bytes of one open descriptor, each read once.
 * Trust:   the file system is passed as an argument; nothing is cached between calls.
 * Limits:  a parent of the root may be a symbolic link, because the caller chooses the root.
 * Proof:   test/unit/oms/manifest-verifier.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import { constants, writeSync } from 'node:fs';
import type { Difference } from './verification-error.ts';
import { printable } from './verification-error.ts';
import { readPart, twinKey } from './file-names.ts';
import type { Shard } from './statement.ts';

const { createHash, hash } = process.getBuiltinModule('node:crypto');

// Bound at load time, before other code in this process could replace them.
const digestOf = hash;
const makeHash = createHash;

/** The `node:fs` functions that verification uses. */
export type Disk = Pick<typeof fs, 'openSync' | 'closeSync' | 'fstatSync' | 'lstatSync' | 'readSync' | 'readdirSync'>;

/** Rules for owners and modes in a tree. */
export type Rights = {
  /** Users that may own a file; `undefined` for any. */
  readonly owners: ReadonlySet<number> | undefined;
  /** Whether group-writable files are refused; world-writable files always are. */
  readonly refuseGroupWritable: boolean;
  /** Whether a file with more than one hard link is refused. */
  readonly refuseLinks: boolean;
};

/** A regular file found below the root. */
type FoundFile = {
  readonly name: string;
  readonly size: number;
  readonly executable: boolean;
  readonly links: number;
  readonly groupWritable: boolean;
};

/** The owners in a tree, each with the first entry they own, and every group-writable entry. */
export type FoundRights = {
  readonly owners: ReadonlyMap<number, string>;
  readonly groupWritable: readonly { readonly name: string; readonly gid: number }[];
};

/** The result of a walk: files by name, and every refused entry. */
type Walk = {
  readonly files: ReadonlyMap<string, FoundFile>;
  readonly folders: number;
  readonly faults: readonly Difference[];
  readonly rights: FoundRights;
};

const maxEntries = 1 << 20;
const maxDepth = 64;

type Facts = { readonly uid: number; readonly mode: number; readonly nlink: number };

/** Returns what is wrong with the owner or mode of a file or folder, or `undefined`. */
export function rightsFault(facts: Facts, rights: Rights, folder: boolean): string | undefined {
  if (rights.owners !== undefined && !rights.owners.has(facts.uid)) return `owned by user ${facts.uid}`;
  if ((facts.mode & 0o002) !== 0 && !(folder && (facts.mode & 0o1000) !== 0)) return 'world-writable';
  if ((facts.mode & 0o020) !== 0 && rights.refuseGroupWritable) return 'group-writable';
  if (!folder && (facts.mode & 0o6000) !== 0) return 'setuid or setgid';
  if (!folder && facts.nlink > 1 && rights.refuseLinks) return 'has more than one hard link';
  return undefined;
}

/**
 * Lists a tree without following links.
 * @param excluded - relative paths that are skipped, with everything below them
 */
export function walkTree(disk: Disk, root: string, excluded: ReadonlySet<string>, rights: Rights): Walk {
  const files = new Map<string, FoundFile>();
  const faults: Difference[] = [];
  const owners = new Map<number, string>();
  const groupWritable: { name: string; gid: number }[] = [];
  let folders = 0;
  let entries = 0;
  const note = (name: string, facts: fs.Stats): void => {
    if (!owners.has(facts.uid)) owners.set(facts.uid, name);
    if (!facts.isSymbolicLink() && (facts.mode & 0o020) !== 0) groupWritable.push({ name, gid: facts.gid });
  };
  const list = (path: string, prefix: string): string[] => {
    try {
      return disk.readdirSync(path, { encoding: 'latin1' });
    } catch (error) {
      // An unreadable folder is a difference, so that an incomplete tree cannot pass for a complete one.
      faults.push({
        kind: 'mode',
        name: printable(prefix === '' ? root : prefix),
        found: `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      });
      return [];
    }
  };
  const visit = (path: string, prefix: string, depth: number): void => {
    folders += 1;
    const twins = new Map<string, string>();
    for (const entry of list(path, prefix)) {
      const read = readPart(entry);
      if ('fault' in read) {
        faults.push({
          kind: 'name',
          name: `${printable(prefix)}${printable(Buffer.from(entry, 'latin1'))}`,
          found: read.fault,
        });
        continue;
      }
      const { part } = read;
      const name = `${prefix}${part}`;
      if (excluded.has(name)) continue;
      const twin = twins.get(twinKey(part));
      if (twin !== undefined)
        faults.push({
          kind: 'name',
          name: printable(name),
          found: `differs from ${printable(twin)} only in letter case or Unicode form`,
        });
      twins.set(twinKey(part), part);
      entries += 1;
      if (entries > maxEntries) {
        faults.push({ kind: 'extra', name: printable(name), found: `more than ${maxEntries} entries` });
        return;
      }
      const full = `${path}/${part}`;
      const facts = disk.lstatSync(full);
      const folder = facts.isDirectory();
      note(name, facts);
      const unsafe = facts.isSymbolicLink() ? undefined : rightsFault(facts, rights, folder);
      if (unsafe !== undefined) faults.push({ kind: 'mode', name: printable(name), found: unsafe });
      if (folder && depth < maxDepth) visit(full, `${name}/`, depth + 1);
      else if (facts.isFile())
        files.set(name, {
          name,
          size: facts.size,
          executable: (facts.mode & 0o111) !== 0,
          links: facts.nlink,
          groupWritable: (facts.mode & 0o020) !== 0,
        });
      else faults.push({ kind: 'kind', name: printable(name), found: kindOf(facts) });
    }
  };
  const top = disk.lstatSync(root);
  const rightsFound: FoundRights = { owners, groupWritable };
  if (!top.isDirectory())
    return {
      files,
      folders,
      faults: [{ kind: 'kind', name: printable(root), found: 'not a folder' }],
      rights: rightsFound,
    };
  note('', top);
  const unsafe = rightsFault(top, rights, true);
  if (unsafe !== undefined) faults.push({ kind: 'mode', name: printable(root), found: unsafe });
  visit(root, '', 0);
  return { files, folders, faults, rights: rightsFound };
}

/** Errors returned when opening links, devices, or missing or unreadable files. */
const refusedOpens: ReadonlySet<string> = new Set(['ELOOP', 'ENXIO', 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM']);

function kindOf(facts: fs.Stats): string {
  if (facts.isSymbolicLink()) return 'a symbolic link';
  if (facts.isFIFO()) return 'a named pipe';
  if (facts.isSocket()) return 'a socket';
  if (facts.isDirectory()) return 'a folder that is nested too deeply';
  return facts.isFile() ? 'a regular file' : 'a device';
}

/** Opens a regular file read-only, without following a link; returns `undefined` for any other or unreadable file. */
export function openRegular(disk: Disk, path: string): { fd: number; facts: fs.Stats } | undefined {
  let fd: number;
  try {
    fd = disk.openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== undefined && refusedOpens.has(code)) return undefined;
    throw error;
  }
  const facts = disk.fstatSync(fd);
  if (facts.isFile()) return { fd, facts };
  disk.closeSync(fd);
  return undefined;
}

/** Reports progress: the number of bytes hashed so far. */
export type Progress = (doneBytes: number) => void;

/** The result of hashing one file: its digest, or one for each shard, and the number of bytes read. */
export type Hashed = { readonly size: number; readonly digest: string; readonly shards: readonly Shard[] };

const chunkBytes = 256 * 1024;

/** Hashes descriptors one after another, with one buffer. */
export class Hasher {
  readonly #disk: Disk;
  readonly #buffer = Buffer.allocUnsafeSlow(chunkBytes);
  readonly #progress: Progress | undefined;
  /** Number of bytes hashed so far, over all files. */
  bytes = 0;

  constructor(disk: Disk, progress?: Progress) {
    this.#disk = disk;
    this.#progress = progress;
  }

  /** Hashes a whole file; if `into` is given, writes exactly the hashed bytes to that descriptor. */
  whole(fd: number, into?: number): Hashed {
    const first = this.#fill(fd, 0, chunkBytes);
    if (into !== undefined) this.#copy(into, 0, first);
    if (first < chunkBytes)
      return { size: first, digest: digestOf('sha256', this.#buffer.subarray(0, first), 'hex'), shards: [] };
    const running = makeHash('sha256').update(this.#buffer);
    let at = first;
    for (;;) {
      const length = this.#fill(fd, at, chunkBytes);
      if (length === 0) break;
      if (into !== undefined) this.#copy(into, at, length);
      running.update(this.#buffer.subarray(0, length));
      at += length;
    }
    return { size: at, digest: running.digest('hex'), shards: [] };
  }

  /** Hashes a range of a file; the size in the result is smaller if the file ends earlier. */
  range(fd: number, start: number, end: number): Hashed {
    const running = makeHash('sha256');
    let at = start;
    while (at < end) {
      const length = this.#fill(fd, at, Math.min(chunkBytes, end - at));
      if (length === 0) break;
      running.update(this.#buffer.subarray(0, length));
      at += length;
    }
    return { size: at - start, digest: running.digest('hex'), shards: [] };
  }

  /** Hashes a file in shards of `shardBytes`; an empty file has one shard 0:0. */
  shards(fd: number, shardBytes: number): Hashed {
    const shards: Shard[] = [];
    let at = 0;
    for (;;) {
      const start = at;
      const running = makeHash('sha256');
      while (at - start < shardBytes) {
        const length = this.#fill(fd, at, Math.min(chunkBytes, shardBytes - (at - start)));
        if (length === 0) break;
        running.update(this.#buffer.subarray(0, length));
        at += length;
      }
      if (at === start && start > 0) break;
      shards.push({ start, end: at, digest: running.digest('hex') });
      if (at - start < shardBytes) break;
    }
    return { size: at, digest: '', shards };
  }

  /** Writes the first bytes of the buffer to a position in a descriptor. */
  #copy(into: number, position: number, length: number): void {
    for (let done = 0; done < length;) done += writeSync(into, this.#buffer, done, length - done, position + done);
  }

  /** Reads `length` bytes, or fewer at the end of the file. */
  #fill(fd: number, position: number, length: number): number {
    let filled = 0;
    while (filled < length) {
      const read = this.#disk.readSync(fd, this.#buffer, filled, length - filled, position + filled);
      if (read === 0) break;
      filled += read;
    }
    this.bytes += filled;
    this.#progress?.(this.bytes);
    return filled;
  }
}
