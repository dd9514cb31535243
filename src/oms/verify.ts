/**
 * A folder against a signed statement: every signed file is there with its bytes, and nothing else is there.
 *
 * Promise: all differences are collected, by class, before the refusal; the answer is evidence.
 * Proof:   test/unit/oms/verify.test.ts
 * @module
 */
import type { Difference } from './fault.ts';
import { printable } from './fault.ts';
import type { Disk, Hashed, Rights } from './disk.ts';
import { Hasher, openRegular, walkTree } from './disk.ts';
import type { SignedFile } from './statement.ts';

/** What was seen while verifying. */
export type TreeEvidence = {
  readonly files: number;
  readonly folders: number;
  readonly bytes: number;
  /** Files that have a second name somewhere. */
  readonly hardLinks: number;
  readonly groupWritable: number;
};

/** How a tree is compared. */
export type Comparison = {
  readonly disk: Disk;
  readonly root: string;
  readonly files: readonly SignedFile[];
  /** Relative paths that are left out with all below them. */
  readonly excluded: ReadonlySet<string>;
  readonly rights: Rights;
  readonly shardBytes: number | undefined;
  readonly progress?: (doneBytes: number) => void;
};

/** How what was hashed differs from what was signed; `undefined` when it does not. */
export function differenceOf(signed: SignedFile, found: Hashed): Difference | undefined {
  const name = printable(signed.name);
  if (signed.digest !== undefined) return signed.digest === found.digest ? undefined : { kind: 'changed', name, expected: `sha256:${signed.digest}`, found: `sha256:${found.digest}` };
  if (signed.size !== found.size) return { kind: 'changed', name, expected: `${signed.size ?? 0} bytes`, found: `${found.size} bytes` };
  const index = signed.shards.findIndex((shard, at) => shard.digest !== found.shards[at]?.digest);
  if (index === -1 && signed.shards.length === found.shards.length) return undefined;
  const shard = signed.shards[index];
  return { kind: 'changed', name: `${name} (bytes ${shard?.start ?? 0} to ${shard?.end ?? 0})`, expected: `sha256:${shard?.digest ?? ''}`, found: `sha256:${found.shards[index]?.digest ?? ''}` };
}

/** Compares one open descriptor with what was signed for it. */
export function compareFile(hasher: Hasher, fd: number, signed: SignedFile, shardBytes: number | undefined): Difference | undefined {
  return differenceOf(signed, signed.digest === undefined ? hasher.shards(fd, shardBytes ?? Number.MAX_SAFE_INTEGER) : hasher.whole(fd));
}

/** Compares a tree with signed files and gives every difference together with what was seen. */
export function compareTree(comparison: Comparison): { readonly differences: readonly Difference[]; readonly evidence: TreeEvidence } {
  const { disk, root, rights } = comparison;
  const walk = walkTree(disk, root, comparison.excluded, rights);
  const differences: Difference[] = [...walk.faults];
  const known = new Set(comparison.files.map((file) => file.name));
  const faulty = new Set(walk.faults.map((entry) => entry.name));
  for (const name of walk.files.keys()) if (!known.has(name)) differences.push({ kind: 'extra', name: printable(name) });
  const hasher = new Hasher(disk, comparison.progress);
  let hardLinks = 0;
  let groupWritable = 0;
  for (const signed of comparison.files) {
    const found = walk.files.get(signed.name);
    const opened = found === undefined ? undefined : openRegular(disk, `${root}/${signed.name}`);
    if (found === undefined || opened === undefined) {
      if (!faulty.has(printable(signed.name))) differences.push({ kind: 'missing', name: printable(signed.name) });
      continue;
    }
    if (found.links > 1) hardLinks += 1;
    if (found.groupWritable) groupWritable += 1;
    try {
      const changed = compareFile(hasher, opened.fd, signed, comparison.shardBytes);
      if (changed !== undefined) differences.push(changed);
    } finally {
      disk.closeSync(opened.fd);
    }
    if (signed.executable === false && found.executable) differences.push({ kind: 'mode', name: printable(signed.name), found: 'executable, which it was not' });
  }
  return { differences, evidence: { files: comparison.files.length, folders: walk.folders, bytes: hasher.bytes, hardLinks, groupWritable } };
}
