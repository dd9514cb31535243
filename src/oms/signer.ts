/**
 * Hashes a folder or some of its files and signs the statement over them.
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

/** What to sign. */
export type SigningOrder = {
  readonly disk: Disk;
  readonly layer: 3 | 4;
  /** The folder that names are relative to. */
  readonly root: string;
  /** Relative names; `undefined` takes the whole folder. */
  readonly only: readonly string[] | undefined;
  readonly excluded: ReadonlySet<string>;
  readonly rights: Rights;
  /** Name of the subject. */
  readonly name: string;
  readonly method: Method;
  readonly progress?: Progress;
};

/** Hashes what the order names. @throws `*_FILES_DIFFER` when something there cannot be signed, `*_TREE_EMPTY` */
export function hashFiles(order: SigningOrder, fault: Fault): FileToSign[] {
  const names = order.only ?? listFolder(order);
  const hasher = new Hasher(order.disk, order.progress);
  const files = names.map((name): FileToSign => {
    const opened = openRegular(order.disk, `${order.root}/${name}`);
    if (opened === undefined)
      throw fault('FILE_KIND', `${printable(name)} is not a regular file that you may read (links are not followed)`);
    try {
      const hashed =
        order.method.kind === 'files' ? hasher.whole(opened.fd) : hasher.shards(opened.fd, order.method.shardBytes);
      return {
        name,
        size: hashed.size,
        digest: hashed.digest,
        shards: hashed.shards,
        ...(order.layer === 3 ? { executable: (opened.facts.mode & 0o111) !== 0 } : {}),
      };
    } finally {
      order.disk.closeSync(opened.fd);
    }
  });
  if (files.length === 0) throw fault('TREE_EMPTY', `there is nothing to sign in ${order.root}`);
  return files;
}

function listFolder(order: SigningOrder): string[] {
  const walk = walkTree(order.disk, order.root, order.excluded, order.rights);
  if (walk.faults.length > 0)
    throw new DifferenceError(order.layer, order.root, walk.faults, 'mend or remove these files, then sign');
  return [...walk.files.keys()];
}

/** Signs hashed files: the text of the bundle. */
export function signFiles(order: SigningOrder, files: readonly FileToSign[], key: KeyObject, fault: Fault): string {
  return signPayload(formatStatement(order.name, files, order.method, []), key, fault);
}
