/**
 * Layer 3 at the start of the supervisor: what is installed, verified before the first third-party module is imported.
 *
 * Promise: neither this file nor anything it imports reads a third-party module.
 * Proof:   test/unit/layers/3-verify.test.ts, test/attacks/3-tree.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { describeInstallation, verifyInstallation } from '../layers/3-dependencies/installation.ts';
import type { VerifiedTree } from '../layers/3-dependencies/verify.ts';
import { readSeal, rememberedSeal, rememberSeal } from '../state/seal.ts';

/** Verifies the installation at `root`, which this process runs from; `state` remembers its seal. @throws `L3_*` (exit 13) */
export function verifyOwnTree(root: string, state?: string): VerifiedTree {
  const remembered = state === undefined ? undefined : rememberedSeal(state, root);
  const tree = verifyInstallation(describeInstallation(fs, process, root), readSeal(root), new Date(), remembered);
  const { seal } = tree;
  const news = seal !== undefined && (seal.sequence !== remembered?.sequence || seal.key !== remembered.key || seal.root !== remembered.root);
  if (state !== undefined && news) rememberSeal(state, root, seal);
  return tree;
}
