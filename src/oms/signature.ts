/**
 * ECDSA signatures over the envelope, made with a trusted key or with a certificate that chains to a trusted root.
 *
 * Promise: the key never comes from the bundle. Only P-256 with SHA-256, P-384 with SHA-384 and P-521 with SHA-512 are
 *          accepted. The result is not a boolean: it names the signer and the key.
 * Source:  OpenSSF Model Signing v1.0
 * Proof:   test/unit/oms/vectors.test.ts
 * @module
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import type { Bundle } from './bundle.ts';
import { formatBundle, preAuthEncoding } from './bundle.ts';
import { verifyChain } from './certificate.ts';
import type { Fault } from './verification-error.ts';

const { createHash, createPublicKey, sign: ecdsaSign, verify: ecdsaVerify } = process.getBuiltinModule('node:crypto');

/** Keys and roots that the caller trusts. @internal */
export type Trust = { readonly keys: readonly KeyObject[]; readonly roots: readonly X509Certificate[] };

/** The trusted signer of a valid signature. */
type Signer =
  | { readonly method: 'key'; readonly keyId: string; readonly curve: string }
  | {
      readonly method: 'certificate';
      readonly subject: string;
      readonly fingerprint: string;
      readonly root: string;
      readonly validTo: string;
    };

const hashOfCurve: Readonly<Record<string, string>> = {
  prime256v1: 'sha256',
  secp384r1: 'sha384',
  secp521r1: 'sha512',
};

function curveOf(key: KeyObject): string {
  const curve = key.asymmetricKeyType === 'ec' ? key.asymmetricKeyDetails?.namedCurve : undefined;
  return curve !== undefined && Object.hasOwn(hashOfCurve, curve) ? curve : '';
}

/** Returns the id of a key: the SHA-256 of its PEM export, which other OMS tools call the hint. */
export function keyIdOf(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'pem' }))
    .digest('hex');
}

/** Reads a public key on one of the three curves. @throws `*_KEY_INVALID` */
export function parsePublicKey(pem: string, fault: Fault): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw fault('KEY_INVALID', 'the public key cannot be read: it must be a PEM file with an elliptic-curve key');
  }
  if (curveOf(key) === '') throw fault('KEY_INVALID', 'the public key is not on P-256, P-384 or P-521');
  return key;
}

function holds(key: KeyObject, bundle: Bundle): boolean {
  const algorithm = hashOfCurve[curveOf(key)];
  if (algorithm === undefined) return false;
  try {
    return ecdsaVerify(algorithm, preAuthEncoding(bundle.payload), { key, dsaEncoding: 'der' }, bundle.signature);
  } catch {
    return false; // not a DER signature at all
  }
}

/**
 * Verifies the envelope and returns its signer.
 * @throws `*_SIGNATURE_INVALID`, `*_CERTIFICATE_INVALID`, `*_SIGNER_UNTRUSTED` (valid, but by an untrusted signer)
 */
export function verifySignature(bundle: Bundle, trust: Trust, now: Date, fault: Fault): Signer {
  const { material } = bundle;
  switch (material.method) {
    case 'key': {
      const wanted =
        material.hint === undefined ? trust.keys : trust.keys.filter((key) => keyIdOf(key) === material.hint);
      if (wanted.length === 0)
        throw fault(
          'SIGNER_UNTRUSTED',
          `the signing key is not trusted${material.hint === undefined ? '' : ` (${material.hint})`}`,
        );
      const key = wanted.find((candidate) => holds(candidate, bundle));
      if (key === undefined) throw fault('SIGNATURE_INVALID', 'the signature is invalid');
      return { method: 'key', keyId: keyIdOf(key), curve: curveOf(key) };
    }
    case 'certificate': {
      const { leaf, root } = verifyChain(material.certificates, trust.roots, now, fault);
      if (!holds(leaf.publicKey, bundle)) throw fault('SIGNATURE_INVALID', 'the signature is invalid');
      return {
        method: 'certificate',
        subject: leaf.subject,
        fingerprint: leaf.fingerprint256,
        root: root.subject,
        validTo: leaf.validToDate.toISOString(),
      };
    }
    case 'sigstore':
      throw fault(
        'SIGNATURE_METHOD',
        'keyless signatures are not accepted when the server starts',
        'add the model with ./kwyre model add, which verifies the signature and signs the model with your own key',
      );
  }
}

/** Signs a payload with a P-256 key and returns the bundle. @throws `*_KEY_INVALID` */
export function signPayload(payload: Buffer, key: KeyObject, fault: Fault): string {
  const publicKey = createPublicKey(key);
  if (curveOf(publicKey) !== 'prime256v1') throw fault('KEY_INVALID', 'the signing key is not a P-256 key');
  const signature = ecdsaSign('sha256', preAuthEncoding(payload), { key, dsaEncoding: 'der' });
  return formatBundle(payload, signature, keyIdOf(publicKey));
}
