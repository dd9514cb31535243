/**
 * `kwyre deps`: lists what an installation contains, signs it with the operator's key, and verifies it.
 *
 * Proof: test/attacks/3-seal.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import { describeInstallation, verifyInstallation } from '../../layers/3-dependencies/installation.ts';
import type { TreeInput } from '../../layers/3-dependencies/types.ts';
import { DifferenceError } from '../../oms/verification-error.ts';
import { readSignatures, rememberedSignature } from '../../state/tree-signatures.ts';
import { stateDirectory } from '../client.ts';
import type { Flags } from './deps-flags.ts';
import { parseFlags, usage } from './deps-flags.ts';
import { plan } from './deps-plan.ts';
import { signInstallation } from './installation-signer.ts';

/** Runs `kwyre deps ...`. */
export async function deps(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args);
  const [action, ...rest] = positionals;
  if (rest.length > 0) throw usage();
  const order = { ...describeInstallation(fs, process, root), threads: 2 };
  switch (action) {
    case 'plan':
      return plan(order, values);
    case 'seal':
      return await signInstallation(order, values);
    case 'verify':
      return verify(order, values);
    default:
      throw usage();
  }
}

function verify(order: TreeInput, values: Flags): number {
  try {
    const verified = verifyInstallation(
      order,
      readSignatures(root),
      new Date(),
      rememberedSignature(stateDirectory(values.state), root),
    );
    if (values.json === true) console.log(JSON.stringify({ ok: true, sealed: verified.signed, ...verified.evidence }));
    else for (const check of verified.checks) console.log(`${check.status.padEnd(9)} ${check.id}: ${check.evidence}`);
    return 0;
  } catch (error) {
    if (!(error instanceof KwyreError) || values.json !== true) throw error;
    console.log(
      JSON.stringify({
        ok: false,
        code: error.code,
        message: error.message,
        remedy: error.remedy,
        differences: error instanceof DifferenceError ? error.differences : [],
      }),
    );
    return error.exitCode;
  }
}
