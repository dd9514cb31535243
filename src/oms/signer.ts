/**
 * Hashes a folder or some of its files, and signs a statement that lists them.
 * @module
 */
import type { KeyObject } from 'node:crypto';
import type { Disk, Progress, Rights } from './tree-reader.ts';
import { Hasher, openRegular, walkTree } from './tree-reader.ts';
import type { Fault } from './verification-error.ts';
import { DifferenceError, printable } from './verification-error.ts';
import { signPayload } from './signature.ts';
import type { FileToSign, Method } from './statement.ts';
import { formatStatement } from './statement.ts';

/** The files to sign, and the options. */
export type SigningRequest = {
  readonly disk: Disk;
  readonly layer: 3 | 4;
  /** The folder to which names are relative. */
  readonly root: string;
  /** Relative names; `undefined` for the whole folder. */
  readonly only: readonly string[] | undefined;
  readonly excluded: ReadonlySet<string>;
  readonly rights: Rights;
  /** Name of the subject. */
  readonly name: string;
  readonly method: Method;
  readonly progress?: Progress;
};

/** Hashes the requested files. @throws `*_FILES_DIFFER`, `*_FILE_KIND`, `*_TREE_EMPTY` */
export function hashFiles(request: SigningRequest, fault: Fault): FileToSign[] {
  const names = request.only ?? listFolder(request);
  const hasher = new Hasher(request.disk, request.progress);
  const files = names.map((name): FileToSign => {
    const opened = openRegular(request.disk, `${request.root}/${name}`);
    if (opened === undefined)
      throw fault('FILE_KIND', `${printable(name)} is not a readable regular file (symbolic links are not followed)`);
    try {
      const hashed =
        request.method.kind === 'files' ? hasher.whole(opened.fd) : hasher.shards(opened.fd, request.method.shardBytes);
      return {
        name,
        size: hashed.size,
        digest: hashed.digest,
        shards: hashed.shards,
        ...(request.layer === 3 ? { executable: (opened.facts.mode & 0o111) !== 0 } : {}),
      };
    } finally {
      request.disk.closeSync(opened.fd);
    }
  });
  if (files.length === 0) throw fault('TREE_EMPTY', `${request.root} contains no files to sign`);
  return files;
}

function listFolder(request: SigningRequest): string[] {
  const walk = walkTree(request.disk, request.root, request.excluded, request.rights);
  if (walk.faults.length > 0)
    throw new DifferenceError(request.layer, request.root, walk.faults, 'fix or remove these files, then sign again');
  return [...walk.files.keys()];
}

/** Signs hashed files and returns the bundle. */
export function signFiles(request: SigningRequest, files: readonly FileToSign[], key: KeyObject, fault: Fault): string {
  return signPayload(formatStatement(request.name, files, request.method, []), key, fault);
}
