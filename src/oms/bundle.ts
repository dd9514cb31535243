/**
 * Sigstore bundles with one DSSE envelope: the container of a signature.
 *
 * Promise: accepts exactly one of three methods, one signature, one media type and one payload type. Anything else is
 *          refused before any cryptographic operation.
 * Source:  OpenSSF Model Signing v1.0; https://github.com/secure-systems-lab/dsse
 * Proof:   test/unit/oms/vectors.test.ts
 * @module
 */
import type { Fault } from './verification-error.ts';
import { Shape } from './json-shape.ts';

/** Media type of a bundle. @internal */
export const mediaType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
/** Payload type of a DSSE envelope. @internal */
export const payloadType = 'application/vnd.in-toto+json';
const maxBundleBytes = 64 << 20;
const maxCertificates = 8;

/** The bundle's verification material. A key in the bundle is never trusted on its own. */
type Material =
  | { readonly method: 'key'; readonly hint: string | undefined }
  | { readonly method: 'certificate'; readonly certificates: readonly Buffer[] }
  | { readonly method: 'sigstore'; readonly certificate: Buffer };

/** A well-formed bundle; nothing in it is verified yet. */
export type Bundle = { readonly material: Material; readonly payload: Buffer; readonly signature: Buffer };

/** Parses a bundle. @throws `L3_BUNDLE_SHAPE`, `L4_BUNDLE_SHAPE` */
export function parseBundle(bytes: Buffer, fault: Fault): Bundle {
  const shape = new Shape(fault, 'BUNDLE_SHAPE', 'the signature file');
  const outer = shape.object(shape.json(bytes, maxBundleBytes), 'bundle', [
    'mediaType',
    'verificationMaterial',
    'dsseEnvelope',
  ]);
  shape.same(outer['mediaType'], 'mediaType', mediaType);
  const envelope = shape.object(outer['dsseEnvelope'], 'dsseEnvelope', ['payload', 'payloadType', 'signatures']);
  shape.same(envelope['payloadType'], 'payloadType', payloadType);
  const [only] = shape.list(envelope['signatures'], 'signatures', 1, 1);
  const signature = shape.object(only, 'signature', ['sig'], ['keyid']);
  const keyId = signature['keyid'];
  if (keyId !== undefined && keyId !== null && keyId !== '') shape.refuse('keyid', 'is not empty');
  return {
    material: parseMaterial(outer['verificationMaterial'], shape),
    payload: shape.base64(envelope['payload'], 'payload'),
    signature: shape.base64(signature['sig'], 'sig'),
  };
}

const methods = ['publicKey', 'x509CertificateChain', 'certificate'];

function parseMaterial(value: unknown, shape: Shape): Material {
  const material = shape.object(
    value,
    'verificationMaterial',
    [],
    [...methods, 'tlogEntries', 'timestampVerificationData'],
  );
  const entries =
    material['tlogEntries'] === undefined ? [] : shape.list(material['tlogEntries'], 'tlogEntries', 0, 16);
  const present = methods.filter((name) => material[name] !== undefined);
  if (present.length !== 1)
    return shape.refuse('verificationMaterial', 'must contain exactly one of a key, a chain or a certificate');
  switch (present[0]) {
    case 'publicKey': {
      // Bundles before v1.1.0 contain the key itself (`rawBytes`, `keyDetails`), which is ignored.
      const key = shape.object(material['publicKey'], 'publicKey', [], ['hint', 'rawBytes', 'keyDetails', 'validFor']);
      return {
        method: 'key',
        hint: key['hint'] === undefined ? undefined : shape.text(key['hint'], 'hint', /^[0-9a-f]{64}$/),
      };
    }
    case 'x509CertificateChain': {
      const chain = shape.object(material['x509CertificateChain'], 'x509CertificateChain', ['certificates']);
      const list = shape.list(chain['certificates'], 'certificates', 1, maxCertificates);
      return { method: 'certificate', certificates: list.map((entry) => rawBytes(entry, shape)) };
    }
    default:
      if (entries.length === 0) shape.refuse('tlogEntries', 'is empty');
      return { method: 'sigstore', certificate: rawBytes(material['certificate'], shape) };
  }
}

function rawBytes(value: unknown, shape: Shape): Buffer {
  return shape.base64(shape.object(value, 'certificate', ['rawBytes'])['rawBytes'], 'rawBytes');
}

/** Returns the signed bytes: payload type and payload, each after its length (DSSE's pre-authentication encoding). */
export function preAuthEncoding(payload: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `, 'latin1'),
    payload,
  ]);
}

/** Returns the bundle for a signed payload; the hint tells verifiers which key signed it. */
export function formatBundle(payload: Buffer, signature: Buffer, hint: string): string {
  return JSON.stringify({
    mediaType,
    verificationMaterial: { publicKey: { hint }, tlogEntries: [] },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType,
      signatures: [{ sig: signature.toString('base64'), keyid: '' }],
    },
  });
}
