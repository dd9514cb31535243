/**
 * Before the first third-party module is imported, verifies the installation that this process runs from. Afterwards
 * the process can load nothing else.
 *
 * Promise: neither this file nor any module that it imports at load time loads a third-party module.
 * Proof:   test/unit/layers/3-tree-verifier.test.ts, test/attacks/3-tree.test.ts, test/attacks/3-commands.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { digestsRemedy } from '../layers/3-dependencies/published-digests.ts';
import { installLoadHook } from '../layers/3-dependencies/load-hook.ts';
import { mappedFaults } from '../layers/3-dependencies/mapped-files.ts';
import type { VerifiedFiles } from '../layers/3-dependencies/types.ts';
import { describeInstallation, prepareInstallation } from '../layers/3-dependencies/installation.ts';
import { loadAddonsFromCopy } from '../layers/3-dependencies/native-code.ts';
import type { PreparedTree, VerifiedTree } from '../layers/3-dependencies/types.ts';
import { DifferenceError } from '../oms/verification-error.ts';
import { readSignatures, rememberedSignature, rememberSignature } from '../state/tree-signatures.ts';

/**
 * Prepares to verify the installation at `root`. Once it is verified, its signature is recorded in the state folder.
 * @param state - the state folder; without one, the signature is neither recorded nor compared with a recorded one
 * @throws `L3_*` (exit 13)
 */
export function prepareOwnTree(root: string, state?: string): PreparedTree {
  const remembered = state === undefined ? undefined : rememberedSignature(state, root);
  const prepared = prepareInstallation(
    describeInstallation(fs, process, root),
    readSignatures(root),
    new Date(),
    remembered,
  );
  return {
    ...prepared,
    compare(copies) {
      const tree = prepared.compare(copies);
      const { signature } = tree;
      const isNew =
        signature !== undefined &&
        (signature.sequence !== remembered?.sequence ||
          signature.key !== remembered.key ||
          signature.root !== remembered.root);
      if (state !== undefined && isNew) rememberSignature(state, root, signature);
      return tree;
    },
  };
}

/** Verifies the installation at `root`, which this process runs from. @throws `L3_*` (exit 13) */
export function verifyOwnTree(root: string, state?: string): VerifiedTree {
  return prepareOwnTree(root, state).compare();
}

/** Refuses to continue if native code that is not on the list is mapped. @throws `L3_FILES_DIFFER` */
export function assertMapped(list: VerifiedFiles, own: ReadonlySet<string>): void {
  const faults = mappedFaults(list, fs, fs.readFileSync('/proc/self/maps', 'latin1'), own);
  if (faults.length > 0) throw new DifferenceError(3, 'the loaded native code', faults, digestsRemedy);
}

/**
 * Restricts this process to modules on the list, and loads the foreign function interface from a copy of the verified
 * bytes.
 * @throws `L3_FILES_DIFFER`
 */
export async function loadOnly(list: VerifiedFiles): Promise<void> {
  installLoadHook(list, fs);
  const opened = loadAddonsFromCopy(list);
  try {
    await import('../linux/ffi.ts');
  } catch (error) {
    throw opened.refusal ?? error;
  }
  if (opened.refusal !== undefined) throw opened.refusal;
  assertMapped(list, opened.own);
}
