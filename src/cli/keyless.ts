/**
 * Keyless signatures of model makers (Sigstore): verified offline, against a trusted root that is part of this program.
 *
 * Promise: the installed tree is verified before a byte of the Sigstore packages is read as code; nothing is fetched. They
 *          are loaded in this command alone, never in a process that serves.
 * Trust:   Sigstore's public good instance as `trusted-root.json` has it: keys that it makes later need a newer file.
 * Limits:  who signed is shown; whether that is the maker of the model is for the reader, or for --upstream-identity.
 * Proof:   test/unit/cli/upstream.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { digestsRemedy } from '../layers/3-dependencies/digests.ts';
import { hookLoads, mappedFaults } from '../layers/3-dependencies/hook.ts';
import { describeInstallation, verifyInstallation } from '../layers/3-dependencies/installation.ts';
import type { Fault } from '../oms/fault.ts';
import { DifferenceError } from '../oms/fault.ts';
import { readSeal } from '../state/seal.ts';

/** Who signed, as the certificate says. */
export type KeylessSigner = { readonly identity: string; readonly issuer: string };

const root = join(import.meta.dirname, '..', '..');

/** Verifies this installation and lets nothing else be loaded from now on. @throws `L3_*` */
export function guardLoads(): void {
  const order = describeInstallation(fs, process, root);
  const { maps } = order.running;
  // This command has native code of the tree mapped already: that is compared by its own check.
  const others = maps.split('\n').filter((line) => !line.includes(` ${root}/node_modules/`) || line.endsWith('/bin/node'));
  const tree = verifyInstallation({ ...order, running: { ...order.running, maps: others.join('\n') } }, readSeal(root), new Date());
  const faults = mappedFaults(tree, fs, maps);
  if (faults.length > 0) throw new DifferenceError(3, 'native code that was loaded', faults, digestsRemedy);
  hookLoads(tree, fs);
}

/** Names of mail addresses and web addresses only: certificates are written by strangers. */
function plain(text: string | undefined): string {
  return (text ?? '').replace(/[^\x21-\x7e]/g, '?').slice(0, 256);
}

/**
 * Verifies certificate, transparency log, time and signature of a bundle.
 * @throws `L4_SIGNATURE_INVALID` for bad evidence, `L4_SIGNER_UNTRUSTED` when it is somebody else than asked for
 */
export async function verifyKeyless(bytes: Buffer, wanted: { readonly identity?: string | undefined; readonly issuer?: string | undefined }, fault: Fault): Promise<KeylessSigner> {
  const { bundleFromJSON } = await import('@sigstore/bundle');
  const { TrustedRoot } = await import('@sigstore/protobuf-specs');
  const { Verifier, toSignedEntity, toTrustMaterial } = await import('@sigstore/verify');
  const trusted = TrustedRoot.fromJSON(JSON.parse(fs.readFileSync(join(root, 'src', 'cli', 'trusted-root.json'), 'utf8')));
  let found: KeylessSigner;
  try {
    const signer = new Verifier(toTrustMaterial(trusted), { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 }).verify(toSignedEntity(bundleFromJSON(JSON.parse(bytes.toString('utf8')))));
    found = { identity: plain(signer.identity?.subjectAlternativeName), issuer: plain(signer.identity?.extensions?.issuer) };
  } catch (error) {
    throw fault('SIGNATURE_INVALID', `the maker's keyless signature does not hold (${error instanceof Error && 'code' in error ? plain(String(error.code)) : 'it cannot be read'})`);
  }
  if (found.identity === '' || found.issuer === '') throw fault('SIGNATURE_INVALID', "the maker's keyless signature names nobody");
  if ((wanted.identity !== undefined && wanted.identity !== found.identity) || (wanted.issuer !== undefined && wanted.issuer !== found.issuer)) {
    throw new KwyreError('L4_SIGNER_UNTRUSTED', `the maker's signature is by ${found.identity} (${found.issuer}), not by the one that was asked for`, 'compare with what the maker of the model publishes');
  }
  return found;
}
