/**
 * The files of this installation: their digests, and how they differ from the published files and from the files last
 * signed.
 * @module
 */
import * as fs from 'node:fs';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import type { PackageDigests } from '../../layers/3-dependencies/published-digests.ts';
import { parseRuntimeStatement } from '../../layers/3-dependencies/signature/runtime-statement.ts';
import { signatureFault } from '../../layers/3-dependencies/signature/trust-file.ts';
import { unsignedEntries } from '../../layers/3-dependencies/signature/signed-tree.ts';
import type { RuntimeStatement } from '../../layers/3-dependencies/signature/runtime-statement.ts';
import { treeRights, verifyTree } from '../../layers/3-dependencies/tree-verifier.ts';
import type { TreeInput } from '../../layers/3-dependencies/types.ts';
import { parseBundle } from '../../oms/bundle.ts';
import type { SigningRequest } from '../../oms/signer.ts';
import { hashFiles } from '../../oms/signer.ts';
import type { FileToSign, SignedFile } from '../../oms/statement.ts';
import { parseStatement } from '../../oms/statement.ts';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError } from '../../oms/verification-error.ts';
import type { StoredSignatures } from '../../state/tree-signatures.ts';

/**
 * Hashes every file that a signature covers.
 * @param installed - whether files that users other than root can write are refused, because the trust file is in
 * `/etc/kwyre`
 */
export function hashInstallation(
  order: TreeInput,
  packages: readonly PackageDigests[],
  installed: boolean,
): { files: FileToSign[]; signing: SigningRequest } {
  const owner = new Map(packages.flatMap((entry) => entry.files.map((file) => [file.name, entry.id] as const)));
  const signing: SigningRequest = {
    disk: fs,
    layer: 3,
    root,
    only: undefined,
    excluded: unsignedEntries(order),
    rights: { ...treeRights(order), refuseGroupWritable: installed, refuseLinks: installed },
    name: 'kwyre',
    method: { kind: 'files' },
  };
  const files = hashFiles(signing, signatureFault).map((file) => {
    const from = owner.get(file.name);
    return from === undefined ? file : { ...file, package: from };
  });
  return { files, signing };
}

/** Returns the differences between the installed packages and the published ones. */
export function publishedDifferences(order: TreeInput): readonly Difference[] {
  try {
    verifyTree(order);
    return [];
  } catch (error) {
    if (error instanceof DifferenceError) return error.differences;
    throw error;
  }
}

/** The content of the last signature. */
type SignedBefore = { readonly runtime: RuntimeStatement; readonly files: readonly SignedFile[] };

/** Returns `undefined` for a damaged signature, because it must be possible to replace it by signing again. */
export function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof KwyreError) return undefined;
    throw error;
  }
}

/** Reads the last signature without verifying it, because it is used only to list changes. */
export function signedBefore(stored: StoredSignatures | undefined): SignedBefore | undefined {
  const { tree, runtime } = stored ?? {};
  if (tree === undefined || runtime === undefined) return undefined;
  return readable(() => ({
    runtime: parseRuntimeStatement(parseBundle(runtime, signatureFault).payload),
    files: parseStatement(parseBundle(tree, signatureFault).payload, { allowedIgnores: [] }, signatureFault).files,
  }));
}

/** Returns one line for each file that was added, changed or removed since the last signature. */
export function changesSince(before: SignedBefore | undefined, files: readonly FileToSign[]): string[] {
  if (before === undefined) return [];
  const old = new Map(before.files.map((file) => [file.name, file.digest]));
  const lines: string[] = [];
  for (const file of files) {
    if (!old.has(file.name)) lines.push(`added   ${file.name}`);
    else if (old.get(file.name) !== file.digest) lines.push(`changed ${file.name}`);
    old.delete(file.name);
  }
  return [...lines, ...[...old.keys()].map((name) => `removed ${name}`)].sort();
}
