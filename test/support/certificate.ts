/**
 * Writes X.509 certificates for tests, byte by byte: what node:crypto reads and signs, but cannot make.
 * Source: https://www.rfc-editor.org/rfc/rfc5280
 * @module
 */
import { hash, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/** One value of ASN.1 with its tag and length. */
export function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length.toString(16);
  const bytes = Buffer.from(size.padStart(size.length + (size.length % 2), '0'), 'hex');
  const length =
    content.length < 0x80 ? Buffer.from([content.length]) : Buffer.concat([Buffer.from([0x80 | bytes.length]), bytes]);
  return Buffer.concat([Buffer.from([tag]), length, content]);
}

export const sequence = (...parts: readonly Buffer[]): Buffer => tagged(0x30, ...parts);
export const octets = (...parts: readonly Buffer[]): Buffer => tagged(0x04, ...parts);
export const utf8 = (text: string | Buffer): Buffer => tagged(0x0c, Buffer.from(text));
export const integer = (...bytes: readonly number[]): Buffer => tagged(0x02, Buffer.from(bytes));
const yes = tagged(0x01, Buffer.from([0xff]));

/** An object identifier in its dotted form. */
export function identifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const arc = (value: number, more = 0): number[] => [
    ...(value > 0x7f ? arc(value >> 7, 0x80) : []),
    (value & 0x7f) | more,
  ];
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap((value) => arc(value))]));
}

/** An extension of a certificate. */
export const extension = (dotted: string, value: Buffer, critical = false): Buffer =>
  sequence(identifier(dotted), ...(critical ? [yes] : []), octets(value));

const time = (date: Date): Buffer =>
  tagged(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`));
export const named = (name: string): Buffer =>
  name === '' ? sequence() : sequence(tagged(0x31, sequence(identifier('2.5.4.3'), utf8(name))));
const algorithm = sequence(identifier('1.2.840.10045.4.3.3')); // ECDSA with SHA-384

/** DER of a public key. */
export const publicDer = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
const keyName = (key: KeyObject): Buffer => hash('sha1', publicDer(key), 'buffer');
/** The number of the one certificate that a key has. */
export const serialOf = (key: KeyObject): Buffer => integer(0x01, ...keyName(key).subarray(1));

/** Who signs a certificate. */
export type Issuer = { readonly name: string; readonly publicKey: KeyObject; readonly privateKey: KeyObject };

/** What a certificate says. */
export type Subject = {
  /** Empty for those that are known by their alternative name. */
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly from: Date;
  readonly to: Date;
  /** How many authorities may stand below this one; `undefined` for who is none. */
  readonly authority: number | undefined;
  readonly extensions: readonly Buffer[];
  /** Stamps times in place of signing code. */
  readonly stamps?: boolean;
};

/** The part that is signed: of an authority, or of somebody who signs code. */
export function unsigned(subject: Subject, issuer: Issuer): Buffer {
  const usage = subject.authority === undefined ? [0x07, 0x80] : [0x01, 0x06];
  const basic =
    subject.authority === undefined ? [] : [extension('2.5.29.19', sequence(yes, integer(subject.authority)), true)];
  const extensions = sequence(
    extension('2.5.29.15', tagged(0x03, Buffer.from(usage)), true),
    extension('2.5.29.37', sequence(identifier(`1.3.6.1.5.5.7.3.${subject.stamps === true ? 8 : 3}`))),
    ...basic,
    extension('2.5.29.14', octets(keyName(subject.publicKey))),
    extension('2.5.29.35', sequence(tagged(0x80, keyName(issuer.publicKey)))),
    ...subject.extensions,
  );
  return sequence(
    tagged(0xa0, integer(2)),
    serialOf(subject.publicKey),
    algorithm,
    named(issuer.name),
    sequence(time(subject.from), time(subject.to)),
    named(subject.name),
    publicDer(subject.publicKey),
    tagged(0xa3, extensions),
  );
}

/** Signs it: the certificate. */
export function certify(content: Buffer, issuer: Issuer): Buffer {
  return sequence(content, algorithm, tagged(0x03, Buffer.from([0]), sign('sha384', content, issuer.privateKey)));
}
