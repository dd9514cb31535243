/**
 * Keyless signatures of model makers (Sigstore): verified offline, against a trusted root that is part of this program.
 *
 * Promise: nothing is fetched. The Sigstore packages are evaluated from verified bytes, as every command's (`main.ts`).
 *          They are loaded in this command alone, never in a process that serves. The identity is exactly that of the
 *          certificate.
 * Trust:   Sigstore's public good instance as `trusted-root.json` has it: keys that it makes later need a newer file.
 * Limits:  who signed is shown; whether that is the maker of the model is for the reader, or for --upstream-identity.
 * Proof:   test/attacks/4-keyless.test.ts, test/unit/cli/upstream-signature.test.ts
 * @module
 */
import { X509Certificate } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { Signer } from '@sigstore/verify';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import { parseBundle } from '../../oms/bundle.ts';
import type { Fault } from '../../oms/verification-error.ts';

/** Who signed, as the certificate says. */
export type KeylessSigner = { readonly identity: string; readonly issuer: string };

type Identity = NonNullable<Signer['identity']>;

/** Object identifiers of the extensions that hold the issuer, the newer one first. */
const issuerExtensions = ['1.3.6.1.4.1.57264.1.8', '1.3.6.1.4.1.57264.1.1'];

/**
 * The one name and the issuer, when they are plain addresses and stand in the certificate exactly so. Its reader gives
 * the first of several names and drops the eighth bit of every character, so both are looked up again.
 */
function exactSigner(certificate: Buffer, identity: Identity | undefined): KeylessSigner | undefined {
  const name = identity?.subjectAlternativeName ?? '';
  const issuer = identity?.extensions?.issuer ?? '';
  const names = new X509Certificate(certificate).subjectAltName ?? '';
  const quoted = JSON.stringify(name).replaceAll(',', '\\u002c'); // Node's form of a name that holds more than it takes for harmless
  const alone = ['email', 'URI'].some((kind) => names === `${kind}:${name}` || names === `${kind}:${quoted}`);
  const written = issuerExtensions
    .map((id) => identity?.oids?.find(({ oid }) => oid?.id.join('.') === id)?.value)
    .find((value) => value !== undefined);
  const plain = [name, issuer].every((text) => /^[\x21-\x7e]{1,2048}$/.test(text));
  return plain && alone && written?.subarray(-issuer.length).equals(Buffer.from(issuer)) === true
    ? { identity: name, issuer }
    : undefined;
}

/**
 * Verifies certificate, transparency log, time and signature of a bundle.
 * @throws `L4_SIGNATURE_INVALID` for bad evidence, `L4_SIGNER_UNTRUSTED` when it is somebody else than asked for
 */
export async function verifyKeyless(
  bytes: Buffer,
  wanted: { readonly identity?: string | undefined; readonly issuer?: string | undefined },
  fault: Fault,
): Promise<KeylessSigner> {
  const { bundleFromJSON } = await import('@sigstore/bundle');
  const { TrustedRoot } = await import('@sigstore/protobuf-specs');
  const { Verifier, toSignedEntity, toTrustMaterial } = await import('@sigstore/verify');
  const trusted = TrustedRoot.fromJSON(
    JSON.parse(fs.readFileSync(join(root, 'src', 'cli', 'trusted-root.json'), 'utf8')),
  );
  let found: KeylessSigner | undefined;
  try {
    const { material } = parseBundle(bytes, fault);
    if (material.method !== 'sigstore') throw fault('BUNDLE_SHAPE', 'the signature is not keyless');
    const signer = new Verifier(toTrustMaterial(trusted), {
      tlogThreshold: 1,
      ctlogThreshold: 1,
      timestampThreshold: 1,
    }).verify(toSignedEntity(bundleFromJSON(JSON.parse(bytes.toString('utf8')))));
    found = exactSigner(material.certificate, signer.identity);
  } catch (error) {
    throw fault(
      'SIGNATURE_INVALID',
      `the maker's keyless signature does not hold (${error instanceof Error && 'code' in error ? String(error.code) : 'it cannot be read'})`,
    );
  }
  if (found === undefined)
    throw fault(
      'SIGNATURE_INVALID',
      "the maker's keyless signature names nobody in plain words: one mail address or web address, and who vouches for it",
    );
  if (
    (wanted.identity !== undefined && wanted.identity !== found.identity) ||
    (wanted.issuer !== undefined && wanted.issuer !== found.issuer)
  ) {
    throw new KwyreError(
      'L4_SIGNER_UNTRUSTED',
      `the maker's signature is by ${found.identity} (${found.issuer}), not by the one that was asked for`,
      'compare with what the maker of the model publishes',
    );
  }
  return found;
}
