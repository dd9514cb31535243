/**
 * Compares every byte of a model with the approved digests before native code reads it.
 *
 * Promise: no model is used without approval, and no path skips the check. The result contains the verified descriptor;
 *          the engine gets only that descriptor, and no path.
 * Trust:   the approval is either a constant in this program (the embedded guide) or a signature by a key that the
 *          operator trusts.
 * Proof:   test/unit/layers/4-model-verifier.test.ts
 * @module
 */
import type { Check } from '../../base/verdict.ts';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError, faultsOf, printable } from '../../oms/verification-error.ts';
import type { Rights } from '../../oms/tree-reader.ts';
import { Hasher, openRegular, rightsFault, walkTree } from '../../oms/tree-reader.ts';
import type { SignedFile } from '../../oms/statement.ts';
import { rootDigest } from '../../oms/statement.ts';
import { compareFile, differenceOf } from '../../oms/manifest-verifier.ts';
import type { Weights, WeightsDisk, WeightsMode } from './immutable-weights.ts';
import { chooseMode, holdFile, loadSealed } from './immutable-weights.ts';

/** An approved model: its files, their location, and who approved it. */
export type ApprovedModel = {
  readonly name: string;
  /** Folder to which the names of the files are relative. */
  readonly root: string;
  readonly files: readonly SignedFile[];
  readonly shardBytes: number | undefined;
  /** Names of the files that the engine maps, in order. */
  readonly weights: readonly string[];
  /** Whether the whole folder was approved, so that any other file in it is refused. */
  readonly wholeFolder: boolean;
  readonly excluded: ReadonlySet<string>;
  /** The approver, in words. */
  readonly signer: string;
  /** `owner` if the user who runs the server can also replace the approval. */
  readonly trust: 'constant' | 'separate' | 'owner';
  /** The remedy if the model is refused. */
  readonly remedy: string;
};

/** One verified weights file; `fd` stays open. */
type VerifiedWeights = {
  readonly name: string;
  readonly fd: number;
  readonly bytes: number;
  readonly createdSeconds: number;
};

/** Evidence from this run. */
type ModelEvidence = {
  readonly files: number;
  readonly bytes: number;
  readonly root: string;
  readonly signer: string;
  readonly kept: string;
  readonly seconds: number;
};

declare const verified: unique symbol;

/** A model of which every byte was verified in this run; only `verifyModel` creates values of this type. */
export type VerifiedModel = {
  readonly [verified]: true;
  readonly name: string;
  readonly weights: readonly [VerifiedWeights, ...VerifiedWeights[]];
  readonly mode: WeightsMode;
  readonly evidence: ModelEvidence;
  /** Checks for `GET /kwyre/status`. */
  readonly checks: readonly Check[];
};

/** Options for verifying the model and keeping its weights. */
type VerifyOptions = {
  readonly disk: WeightsDisk;
  readonly mode: WeightsMode | 'auto';
  readonly availableBytes: number;
  readonly now: () => number;
  readonly progress?: (doneBytes: number) => void;
};

/** Any owner and group are accepted; world-writable files are refused. */
const rights: Rights = { owners: undefined, refuseGroupWritable: false, refuseLinks: false };

/** Number of files with permissions that weights do not need. */
type WideRights = { group: number; links: number; executable: number };

function noteRights(wide: WideRights, { mode, nlink }: { readonly mode: number; readonly nlink: number }): void {
  if ((mode & 0o020) !== 0) wide.group += 1;
  if (nlink > 1) wide.links += 1;
  if ((mode & 0o111) !== 0) wide.executable += 1;
}

/** Reports these permissions. They are not refused, and do not affect a sealed copy. */
function reportRights({ group, links, executable }: WideRights, mode: WeightsMode, at: number): Check[] {
  const words = [
    ...(group > 0 ? [`${group} group-writable`] : []),
    ...(links > 0 ? [`${links} with more than one hard link`] : []),
    ...(executable > 0 ? [`${executable} executable`] : []),
  ];
  if (words.length === 0) return [];
  const sealed = mode === 'memfd';
  return [
    {
      id: 'rights',
      status: sealed ? 'enforced' : 'degraded',
      evidence: `files of the model: ${words.join(', ')}${sealed ? '; the sealed copy is not affected' : ''}`,
      at,
    },
  ];
}

/**
 * Verifies a model and opens it for serving.
 * @throws `L4_FILES_DIFFER` with every difference, `L4_FILE_WRITER`, `L4_FILE_MOVED`, `L4_MEMORY_SHORT`
 */
export async function verifyModel(model: ApprovedModel, options: VerifyOptions): Promise<VerifiedModel> {
  const fault = faultsOf(4, model.remedy);
  const { disk } = options;
  const startedAt = options.now();
  const differences = model.wholeFolder ? compareFolder(model, disk) : [];
  const mode = options.mode === 'auto' ? chooseMode(sizeOfWeights(model, disk), options.availableBytes) : options.mode;
  const hasher = new Hasher(disk);
  const found: { entry: VerifiedWeights; kept: Weights }[] = [];
  const open = new Set<number>();
  const wide: WideRights = { group: 0, links: 0, executable: 0 };
  let bytes = 0;
  try {
    for (const file of model.files) {
      const opened = openRegular(disk, `${model.root}/${file.name}`);
      const name = printable(file.name);
      if (opened === undefined) {
        if (!differences.some((entry) => entry.name === name))
          differences.push({ kind: 'missing', name, found: 'missing, not a regular file, or unreadable' });
        continue;
      }
      const { fd, facts } = opened;
      open.add(fd);
      const unsafe = model.wholeFolder ? undefined : rightsFault(facts, rights, false); // the walk checked a folder
      if (unsafe !== undefined) differences.push({ kind: 'mode', name, found: unsafe });
      noteRights(wide, facts);
      let changed: Difference | undefined;
      if (model.weights.includes(file.name)) {
        const before = bytes;
        const report = (done: number) => options.progress?.(before + done);
        const kept =
          mode === 'memfd'
            ? await loadSealed(disk, fd, facts.size, model.shardBytes, fault, report)
            : holdFile(disk, fd, file.name, model.shardBytes, fault, report);
        open.add(kept.fd);
        changed = differenceOf(file, kept.hashed);
        bytes += kept.hashed.size;
        found.push({
          entry: {
            name: file.name,
            fd: kept.fd,
            bytes: kept.hashed.size,
            createdSeconds: Math.floor(facts.mtimeMs / 1000),
          },
          kept,
        });
        if (kept.fd !== fd) {
          open.delete(fd);
          disk.closeSync(fd);
        }
      } else {
        changed = compareFile(hasher, fd, file, model.shardBytes);
        bytes += facts.size;
        open.delete(fd);
        disk.closeSync(fd);
      }
      if (changed !== undefined) differences.push(changed);
    }
    if (differences.length > 0)
      throw new DifferenceError(4, `the model ${printable(model.name)} in ${model.root}`, differences, model.remedy);
    const ordered = model.weights
      .map((name) => found.find(({ entry }) => entry.name === name))
      .filter((entry) => entry !== undefined);
    const [first, ...others] = ordered;
    if (first === undefined || ordered.length !== model.weights.length)
      throw fault('WEIGHTS_ABSENT', `the manifest of the model ${printable(model.name)} does not list its weights`);
    const evidence: ModelEvidence = {
      files: model.files.length,
      bytes,
      root: rootDigest(
        model.files.flatMap((file) =>
          file.digest === undefined ? file.shards.map((shard) => shard.digest) : [file.digest],
        ),
      ),
      signer: model.signer,
      kept: first.kept.kept,
      seconds: (options.now() - startedAt) / 1000,
    };
    const full = ordered.every(({ kept }) => kept.full);
    const result = {
      name: model.name,
      weights: [first.entry, ...others.map(({ entry }) => entry)] as const,
      mode,
      evidence,
      checks: [...reportModel(model, evidence, full, options.now()), ...reportRights(wide, mode, options.now())],
    };
    return result as unknown as VerifiedModel; // the brand has no value at run time
  } catch (error) {
    for (const fd of open) disk.closeSync(fd);
    throw error;
  }
}

function compareFolder(model: ApprovedModel, disk: WeightsDisk): Difference[] {
  const walk = walkTree(disk, model.root, model.excluded, rights);
  const known = new Set(model.files.map((file) => file.name));
  const extra = [...walk.files.keys()]
    .filter((name) => !known.has(name))
    .map((name): Difference => ({ kind: 'extra', name: printable(name) }));
  return [...walk.faults, ...extra];
}

function sizeOfWeights(model: ApprovedModel, disk: WeightsDisk): number {
  return model.weights.reduce(
    (sum, name) => sum + (disk.lstatSync(`${model.root}/${name}`, { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

function reportModel(model: ApprovedModel, evidence: ModelEvidence, full: boolean, now: number): Check[] {
  const { bytes, seconds, root } = evidence;
  const files = `${evidence.files} ${evidence.files === 1 ? 'file' : 'files'}`;
  return [
    {
      id: 'digests',
      status: 'enforced',
      evidence: `every byte hashed: ${files}, ${bytes} bytes in ${seconds.toFixed(2)} s; root sha256:${root}`,
      at: now,
    },
    {
      id: 'signer',
      status: model.trust === 'owner' ? 'degraded' : 'enforced',
      evidence:
        model.trust === 'owner'
          ? `${evidence.signer}; detect-only: the user who runs the server owns the trusted keys`
          : evidence.signer,
      at: now,
    },
    { id: 'weights-kept', status: full ? 'enforced' : 'degraded', evidence: evidence.kept, at: now },
  ];
}
