/**
 * Verifies keyless signatures of model makers (Sigstore) offline, against a trusted root that is part of this program.
 *
 * Promise: nothing is fetched. The Sigstore packages are loaded from verified bytes (`main.ts`), and only by this
 *          command, never by a process that serves. The identity is exactly the one in the certificate.
 * Trust:   Sigstore's public-good instance, as pinned in `trusted-root.json`. Keys that Sigstore creates later require
 *          a newer file.
 * Limits:  the output names the signer; the user must judge whether that is the maker, or name the maker with
 *          --upstream-identity.
 * Proof:   test/attacks/4-keyless.test.ts, test/unit/cli/upstream-signature.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { Signer } from '@sigstore/verify';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import { parseBundle } from '../../oms/bundle.ts';
import type { Fault } from '../../oms/verification-error.ts';

const { X509Certificate } = process.getBuiltinModule('node:crypto');

/** The signer that the certificate names. */
type KeylessSigner = { readonly identity: string; readonly issuer: string };

type Identity = NonNullable<Signer['identity']>;

/** Object identifiers of the extensions that contain the issuer, newest first. */
const issuerExtensions = ['1.3.6.1.4.1.57264.1.8', '1.3.6.1.4.1.57264.1.1'];

/**
 * Returns the identity and the issuer if they are plain addresses and exactly the ones that the certificate contains.
 * The library returns the first of several names and drops the eighth bit of every character, so both are checked
 * against the certificate.
 */
function exactSigner(certificate: Buffer, identity: Identity | undefined): KeylessSigner | undefined {
  const name = identity?.subjectAlternativeName ?? '';
  const issuer = identity?.extensions?.issuer ?? '';
  const names = new X509Certificate(certificate).subjectAltName ?? '';
  const quoted = JSON.stringify(name).replaceAll(',', '\\u002c'); // how Node quotes a name with special characters
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
 * Verifies the certificate, transparency log entry, time and signature of a bundle.
 * @throws `L4_SIGNATURE_INVALID` for bad evidence, `L4_SIGNER_UNTRUSTED` if the signer is not the expected one
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
      `the maker's keyless signature is invalid ` +
        `(${error instanceof Error && 'code' in error ? String(error.code) : 'it cannot be read'})`,
    );
  }
  if (found === undefined)
    throw fault(
      'SIGNATURE_INVALID',
      "the certificate of the maker's keyless signature must name one mail or web address and its issuer in " +
        'plain ASCII',
    );
  if (
    (wanted.identity !== undefined && wanted.identity !== found.identity) ||
    (wanted.issuer !== undefined && wanted.issuer !== found.issuer)
  ) {
    throw new KwyreError(
      'L4_SIGNER_UNTRUSTED',
      `the maker's signature is by ${found.identity} (${found.issuer}), not by the given identity and issuer`,
      'compare it with what the maker of the model publishes',
    );
  }
  return found;
}
