/**
 * A folder against a signed statement: every signed file is there with its bytes, and nothing else is there.
 *
 * Promise: all differences are collected, by class, before the refusal; the answer is evidence.
 * Proof:   test/unit/oms/manifest-verifier.test.ts
 * @module
 */
import type { Difference } from './verification-error.ts';
import { printable } from './verification-error.ts';
import type { Disk, FoundRights, Hashed, Rights } from './tree-reader.ts';
import { Hasher, openRegular, walkTree } from './tree-reader.ts';
import type { SignedFile } from './statement.ts';
import { startHashing } from './hash-pool.ts';

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
  /** Threads that hash whole files; 1 hashes them here, one after another. */
  readonly threads?: number;
  /** Descriptors that take the hashed bytes of files, by their names. */
  readonly copies?: ReadonlyMap<string, number>;
  readonly progress?: (doneBytes: number) => void;
};

/** How what was hashed differs from what was signed; `undefined` when it does not. */
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

/** Compares one open descriptor with what was signed for it. */
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

/** Compares a tree with signed files and gives every difference together with what was seen. */
export function compareTree(comparison: Comparison): {
  readonly differences: readonly Difference[];
  readonly evidence: TreeEvidence;
  readonly rights: FoundRights;
} {
  const { disk, root, rights } = comparison;
  const together =
    comparison.shardBytes === undefined && (comparison.threads ?? 1) > 1 ? startTogether(comparison) : undefined;
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
      differences.push({ kind: 'mode', name: printable(signed.name), found: 'executable, which it was not' });
  }
  const { bytes, changed } = together === undefined ? compareInTurn(comparison, present) : together(new Set(present));
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
  found: 'gone, changed its kind, or cannot be read',
});

function compareInTurn(comparison: Comparison, present: readonly SignedFile[]): Compared {
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

/** Other threads begin with the largest files while this one looks at the tree. */
function startTogether(comparison: Comparison): (present: ReadonlySet<SignedFile>) => Compared {
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
      if (!present.has(signed)) return undefined; // named already, with its reason
      const result = results[index];
      return result === undefined ? vanished(signed) : differenceOf(signed, { ...result, shards: [] });
    });
    return {
      bytes: results.reduce((sum, result) => sum + (result?.size ?? 0), 0),
      changed: changed.filter((entry) => entry !== undefined),
    };
  };
}
