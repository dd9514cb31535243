/**
 * Compares a folder with a signed statement: it must contain every signed file, unchanged, and nothing else.
 *
 * Promise: collects every difference, with its kind, instead of stopping at the first one.
 * Proof:   test/unit/oms/manifest-verifier.test.ts
 * @module
 */
import type { Difference } from './verification-error.ts';
import { printable } from './verification-error.ts';
import type { Disk, FoundRights, Hashed, Rights } from './tree-reader.ts';
import { Hasher, openRegular, walkTree } from './tree-reader.ts';
import type { SignedFile } from './statement.ts';
import { startHashing } from './hash-pool.ts';

/** Counts for a verified tree. */
export type TreeEvidence = {
  readonly files: number;
  readonly folders: number;
  readonly bytes: number;
  /** Files with more than one hard link. */
  readonly hardLinks: number;
  readonly groupWritable: number;
};

/** The tree to compare, and the options. */
type Comparison = {
  readonly disk: Disk;
  readonly root: string;
  readonly files: readonly SignedFile[];
  /** Relative paths that are skipped, with everything below them. */
  readonly excluded: ReadonlySet<string>;
  readonly rights: Rights;
  readonly shardBytes: number | undefined;
  /** Number of threads that hash whole files, 1 by default. */
  readonly threads?: number;
  /** Descriptors to which the hashed bytes of files are copied, by file name. */
  readonly copies?: ReadonlyMap<string, number>;
  readonly progress?: (doneBytes: number) => void;
};

/** Returns how a hashed file differs from the signed one, or `undefined`. */
export function differenceOf(signed: SignedFile, found: Hashed): Difference | undefined {
  const name = printable(signed.name);
  if (signed.digest !== undefined)
    return signed.digest === found.digest
      ? undefined
      : { kind: 'changed', name, expected: `sha256:${signed.digest}`, found: `sha256:${found.digest}` };
  if (signed.size !== found.size)
    return { kind: 'changed', name, expected: `${signed.size ?? 0} bytes`, found: `${found.size} bytes` };
  const index = signed.shards.findIndex((shard, at) => shard.digest !== found.shards[at]?.digest);
  if (index === -1 && signed.shards.length === found.shards.length) return undefined;
  const shard = signed.shards[index];
  return {
    kind: 'changed',
    name: `${name} (bytes ${shard?.start ?? 0} to ${shard?.end ?? 0})`,
    expected: `sha256:${shard?.digest ?? ''}`,
    found: `sha256:${found.shards[index]?.digest ?? ''}`,
  };
}

/** Compares an open file with the signed one. */
export function compareFile(
  hasher: Hasher,
  fd: number,
  signed: SignedFile,
  shardBytes: number | undefined,
  into?: number,
): Difference | undefined {
  return differenceOf(
    signed,
    signed.digest === undefined ? hasher.shards(fd, shardBytes ?? Number.MAX_SAFE_INTEGER) : hasher.whole(fd, into),
  );
}

/** Compares a tree with signed files. Returns every difference, with counts and access rights. */
export function compareTree(comparison: Comparison): {
  readonly differences: readonly Difference[];
  readonly evidence: TreeEvidence;
  readonly rights: FoundRights;
} {
  const { disk, root, rights } = comparison;
  const threaded =
    comparison.shardBytes === undefined && (comparison.threads ?? 1) > 1 ? startThreads(comparison) : undefined;
  const walk = walkTree(disk, root, comparison.excluded, rights);
  const differences: Difference[] = [...walk.faults];
  const known = new Set(comparison.files.map((file) => file.name));
  const faulty = new Set(walk.faults.map((entry) => entry.name));
  for (const name of walk.files.keys())
    if (!known.has(name)) differences.push({ kind: 'extra', name: printable(name) });
  const present: SignedFile[] = [];
  let hardLinks = 0;
  let groupWritable = 0;
  for (const signed of comparison.files) {
    const found = walk.files.get(signed.name);
    if (found === undefined) {
      if (!faulty.has(printable(signed.name))) differences.push({ kind: 'missing', name: printable(signed.name) });
      continue;
    }
    present.push(signed);
    if (found.links > 1) hardLinks += 1;
    if (found.groupWritable) groupWritable += 1;
    if (signed.executable === false && found.executable)
      differences.push({
        kind: 'mode',
        name: printable(signed.name),
        found: 'executable, but signed as not executable',
      });
  }
  const { bytes, changed } =
    threaded === undefined ? compareOnThisThread(comparison, present) : threaded(new Set(present));
  return {
    differences: [...differences, ...changed],
    evidence: { files: comparison.files.length, folders: walk.folders, bytes, hardLinks, groupWritable },
    rights: walk.rights,
  };
}

type Compared = { readonly bytes: number; readonly changed: readonly Difference[] };

const vanished = (file: SignedFile): Difference => ({
  kind: 'missing',
  name: printable(file.name),
  found: 'vanished, not a regular file, or unreadable',
});

function compareOnThisThread(comparison: Comparison, present: readonly SignedFile[]): Compared {
  const { disk, root } = comparison;
  const hasher = new Hasher(disk, comparison.progress);
  const changed = present.map((signed) => {
    const opened = openRegular(disk, `${root}/${signed.name}`);
    if (opened === undefined) return vanished(signed);
    try {
      return compareFile(hasher, opened.fd, signed, comparison.shardBytes, comparison.copies?.get(signed.name));
    } finally {
      disk.closeSync(opened.fd);
    }
  });
  return { bytes: hasher.bytes, changed: changed.filter((entry) => entry !== undefined) };
}

/** Starts threads that hash the largest files first while this thread walks the tree. */
function startThreads(comparison: Comparison): (present: ReadonlySet<SignedFile>) => Compared {
  const ordered = [...comparison.files].sort((a, b) => (b.size ?? 0) - (a.size ?? 0));
  const total = ordered.reduce((sum, file) => sum + (file.size ?? 0), 0);
  const jobs = ordered.map((file) => ({
    path: `${comparison.root}/${file.name}`,
    into: comparison.copies?.get(file.name),
  }));
  const hashing = startHashing(comparison.disk, jobs, total, comparison.threads ?? 1);
  return (present) => {
    const results = hashing.finish();
    const changed = ordered.map((signed, index) => {
      if (!present.has(signed)) return undefined; // already reported, with the reason
      const result = results[index];
      return result === undefined ? vanished(signed) : differenceOf(signed, { ...result, shards: [] });
    });
    return {
      bytes: results.reduce((sum, result) => sum + (result?.size ?? 0), 0),
      changed: changed.filter((entry) => entry !== undefined),
    };
  };
}
