/**
 * The trust file of a signed installation: the public key, and the last signature's sequence number and root digest.
 *
 * Proof: test/unit/layers/3-signed-tree.test.ts, test/attacks/3-seal.test.ts
 * @module
 */
import { Shape } from '../../../oms/json-shape.ts';
import { faultsOf } from '../../../oms/verification-error.ts';

/** The remedy for a signature fault. */
export const signatureRemedy =
  'if you changed the installation, review it with ./kwyre deps plan and sign it with ' +
  './kwyre deps seal --reason "..."; if not, install again';
/** Returns an error of layer 3 about the signature, with `signatureRemedy` unless another remedy is given. */
export const signatureFault = faultsOf(3, signatureRemedy);

/** The key that may sign, and the sequence number and root digest of its last signature. */
export type TrustFile = { readonly key: string; readonly sequence: number; readonly root: string };

const digest = /^[0-9a-f]{64}$/;

/** Parses a trust file. @throws `L3_TRUST_SHAPE` */
export function parseTrustFile(text: string): TrustFile {
  const shape = new Shape(signatureFault, 'TRUST_SHAPE', 'the trust file');
  const fields = shape.object(
    shape.json(Buffer.from(text, 'utf8'), 64 << 10),
    'trust',
    ['version', 'key', 'sequence', 'root'],
    ['installation'],
  );
  if (fields['version'] !== 1) shape.refuse('version', 'is unknown');
  return {
    key: shape.text(fields['key'], 'key', /^[^\0]{1,4096}$/),
    sequence: shape.integer(fields['sequence'], 'sequence', 1),
    root: shape.text(fields['root'], 'root', digest),
  };
}

/** Formats a trust file for the installation at a path. */
export function formatTrustFile(trust: TrustFile, installation: string): string {
  return `${JSON.stringify({ version: 1, installation, ...trust }, null, 2)}\n`;
}
