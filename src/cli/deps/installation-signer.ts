/**
 * `kwyre deps seal`: signs every file that runs, with the operator's key.
 *
 * Promise: an installation is signed only if it matches the published packages and its program was built from its
 *          sources.
 * Proof:   test/attacks/3-seal.test.ts, test/e2e/prompts.test.ts
 * @module
 */
import type { KeyObject } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import { parseDigests } from '../../layers/3-dependencies/published-digests.ts';
import { executableMappings } from '../../layers/3-dependencies/runtime-check.ts';
import { digestLibrary } from '../../layers/3-dependencies/signature/system-libraries.ts';
import { formatTrustFile, parseTrustFile, signatureFault } from '../../layers/3-dependencies/signature/trust-file.ts';
import { signRuntimeStatement } from '../../layers/3-dependencies/signature/runtime-statement.ts';
import type { RuntimeStatement } from '../../layers/3-dependencies/signature/runtime-statement.ts';
import { strippedFaults } from '../../layers/3-dependencies/stripped-sources.ts';
import type { TreeInput } from '../../layers/3-dependencies/types.ts';
import { parseBundle } from '../../oms/bundle.ts';
import { publicPem } from '../../oms/operator-key.ts';
import { keyIdOf, parsePublicKey } from '../../oms/signature.ts';
import { signFiles } from '../../oms/signer.ts';
import { parseStatement } from '../../oms/statement.ts';
import { DifferenceError } from '../../oms/verification-error.ts';
import { openState } from '../../state/state-directory.ts';
import {
  otherSystemInstallation,
  readSignatures,
  rememberedSignature,
  rememberSignature,
  writeSignatures,
} from '../../state/tree-signatures.ts';
import type { StoredSignatures } from '../../state/tree-signatures.ts';
import { stateDirectory } from '../client.ts';
import { confirm } from '../prompt.ts';
import { createOperatorKey, readSigningKey, unlockOperatorKey } from '../signing-key.ts';
import type { Flags } from './deps-flags.ts';
import { changesSince, hashInstallation, publishedDifferences, readable, signedBefore } from './installed-files.ts';

const { createHash, createPublicKey } = process.getBuiltinModule('node:crypto');

/** Returns the signing key: the one from `--key`, or the operator's key, which is created if there is none. */
async function findKey(values: Flags): Promise<KeyObject> {
  const file = values['passphrase-file'];
  if (values.key !== undefined) return await readSigningKey(values.key, file, signatureFault);
  const state = openState(stateDirectory(values.state));
  const key = await unlockOperatorKey(state, file, signatureFault);
  if (key !== undefined) return key;
  console.error('there is no operator key yet: creating one, encrypted with a passphrase');
  return await createOperatorKey(state, file);
}

/**
 * Warns if the signature about to be replaced was made with a different key from the last one that this state folder
 * saw.
 */
function warnOfOtherKey(stored: StoredSignatures | undefined, remembered: { readonly key: string } | undefined): void {
  const by =
    stored === undefined
      ? undefined
      : readable(() => keyIdOf(parsePublicKey(parseTrustFile(stored.trust).key, signatureFault)));
  if (by === undefined || remembered === undefined || remembered.key === '' || remembered.key === by) return;
  console.error(
    `warning: the present signature is by key ${by.slice(0, 16)}, but the last one that this state folder ` +
      `saw was by ${remembered.key.slice(0, 16)}; find out who made it before you continue`,
  );
}

/** Signs the installation and records the `--reason` in the log. @throws `USAGE_DEPS_*`, `L3_FILES_DIFFER` */
export async function signInstallation(order: TreeInput, values: Flags): Promise<number> {
  const reason = (values.reason ?? '').replace(/[\p{C}]/gu, ' ').trim();
  if (reason === '')
    throw new KwyreError(
      'USAGE_DEPS_REASON',
      'signing needs a reason, which is kept in the log',
      './kwyre deps seal --reason "first installation"',
    );
  if (values.system === true && process.getuid?.() !== 0)
    throw new KwyreError(
      'USAGE_DEPS_ROOT',
      'only root can write the trust file in /etc/kwyre',
      'run the command as root, or leave out --system',
    );
  const other = values.system === true ? otherSystemInstallation(root) : undefined;
  if (other !== undefined)
    throw new KwyreError(
      'USAGE_DEPS_OTHER',
      `/etc/kwyre/seal.json signs the installation in ${other}, which would then not start any more`,
      `leave out --system; or, if ${other} is no longer used, remove it first`,
    );
  const differences = publishedDifferences(order);
  if (differences.length > 0)
    throw new DifferenceError(
      3,
      `the installation in ${root}`,
      differences,
      'only published packages can be signed; reinstall them: npm ci --omit=dev --ignore-scripts --no-bin-links',
    );
  const stale = strippedFaults(fs, root);
  if (stale.length > 0)
    throw new DifferenceError(
      3,
      `the program in ${join(root, 'dist')}, which is made from src/,`,
      stale,
      `remove it, so that it is made again: rm -r ${join(root, 'dist')}; ./kwyre deps plan`,
    );
  const stored = readSignatures(root);
  const installed = values.system === true || stored?.installed === true;
  const { files, signing } = hashInstallation(order, parseDigests(order.digests), installed);
  const before = signedBefore(stored);
  const changes = changesSince(before, files);
  const state = stateDirectory(values.state);
  const remembered = rememberedSignature(state, root);
  warnOfOtherKey(stored, remembered);
  const count = changes.length === 1 ? '1 change' : `${changes.length} changes`;
  const names = changes.length === 0 ? '' : `: ${changes.slice(0, 8).join(', ')}`;
  console.error(`${files.length} files${before === undefined ? '' : `; ${count} since the last signature${names}`}`);
  if (values.yes !== true && !(process.stdin.isTTY && (await confirm('Sign exactly these files?'))))
    throw new KwyreError(
      'USAGE_DEPS_CONFIRM',
      'signing needs your confirmation',
      'check ./kwyre deps plan, then add --yes',
    );
  const key = await findKey(values);
  const tree = signFiles(signing, files, key, signatureFault);
  const statement = parseStatement(
    parseBundle(Buffer.from(tree), signatureFault).payload,
    { allowedIgnores: [] },
    signatureFault,
  );
  const sequence =
    Math.max(
      stored === undefined ? 0 : (readable(() => parseTrustFile(stored.trust).sequence) ?? 0),
      before?.runtime.sequence ?? 0,
      remembered?.sequence ?? 0,
    ) + 1;
  const libraries = executableMappings(order.running.maps)
    .map(({ path }) => ({ path, sha256: digestLibrary(order, path) }))
    .filter((library) => library.sha256 !== '' && !library.path.startsWith(root));
  const runtime: RuntimeStatement = {
    sequence,
    sealedAt: new Date().toISOString(),
    reason,
    root: statement.root,
    previous: before?.runtime.root ?? null,
    lockfile: createHash('sha512').update(order.lockfile).digest('hex'),
    libraries,
  };
  const trust = formatTrustFile({ key: publicPem(key), sequence, root: statement.root }, root);
  const keyId = keyIdOf(createPublicKey(key));
  writeSignatures(root, {
    tree,
    runtime: signRuntimeStatement(runtime, key),
    trust,
    line: JSON.stringify({
      at: runtime.sealedAt,
      sequence,
      reason,
      root: statement.root,
      previous: runtime.previous,
      key: keyId,
      uid: process.getuid?.() ?? null,
    }),
    installed,
  });
  rememberSignature(state, root, { sequence, key: keyId, root: statement.root });
  if (values.json === true)
    console.log(JSON.stringify({ sequence, root: statement.root, files: files.length, key: keyId, installed }));
  else
    console.log(
      `signed as number ${sequence}: ${files.length} files, root sha256:${statement.root}, by key ` +
        `${keyId.slice(0, 16)}; the trust file is in ${installed ? '/etc/kwyre' : 'seal/'}`,
    );
  return 0;
}
