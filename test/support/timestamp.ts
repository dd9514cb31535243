/**
 * Writes time stamps for tests: what an authority answers who says when it saw a signature.
 * Source: https://www.rfc-editor.org/rfc/rfc3161; https://www.rfc-editor.org/rfc/rfc5652
 * @module
 */
import { hash, sign } from 'node:crypto';
import type { Issuer } from './certificate.ts';
import { identifier, integer, named, octets, sequence, serialOf, tagged } from './certificate.ts';

const sha256 = sequence(identifier('2.16.840.1.101.3.4.2.1'));
const kind = identifier('1.2.840.113549.1.9.16.1.4');
const set = (...parts: readonly Buffer[]): Buffer => tagged(0x31, ...parts);

/** The stamp over a signature; the authority's own certificate is by `issuer`. */
export function stamp(signature: Buffer, at: Date, authority: Issuer, issuer: Issuer): Buffer {
  const time = tagged(0x18, Buffer.from(`${at.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`));
  const content = sequence(
    integer(1),
    identifier('1.2.3.4'),
    sequence(sha256, octets(hash('sha256', signature, 'buffer'))),
    integer(7),
    time,
  );
  const attributes = [
    sequence(identifier('1.2.840.113549.1.9.3'), set(kind)),
    sequence(identifier('1.2.840.113549.1.9.4'), set(octets(hash('sha256', content, 'buffer')))),
  ];
  const signed = octets(sign('sha256', set(...attributes), authority.privateKey));
  const signer = sequence(
    integer(1),
    sequence(named(issuer.name), serialOf(authority.publicKey)),
    sha256,
    tagged(0xa0, ...attributes),
    sequence(identifier('1.2.840.10045.4.3.2')),
    signed,
  );
  const data = sequence(integer(3), set(sha256), sequence(kind, tagged(0xa0, octets(content))), set(signer));
  return sequence(sequence(integer(0)), sequence(identifier('1.2.840.113549.1.7.2'), tagged(0xa0, data)));
}
