/**
 * A Sigstore of the test's own: an authority for certificates, one for time stamps, a log of certificates, a log of
 * signatures, and the trusted root that names them. Everything is really signed; only the keys are not those of the
 * public good instance.
 * Source: https://github.com/sigstore/protobuf-specs; https://www.rfc-editor.org/rfc/rfc6962
 * @module
 */
import { createHash, generateKeyPairSync, hash, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mediaType, payloadType, preAuthEncoding } from '../../src/oms/bundle.ts';
import type { Issuer, Subject } from './certificate.ts';
import { certify, extension, octets, publicDer, sequence, tagged, unsigned, utf8 } from './certificate.ts';
import { stamp } from './timestamp.ts';

type Pair = { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
const makePair = (namedCurve = 'P-256'): Pair => generateKeyPairSync('ec', { namedCurve });
const sha256 = (...parts: readonly Buffer[]): Buffer =>
  parts.reduce((digest, part) => digest.update(part), createHash('sha256')).digest();
const bytes = (size: number, value: number | bigint): Buffer =>
  Buffer.from(value.toString(16).padStart(size * 2, '0'), 'hex');

/** Somebody who signs a model: what the certificate will say of them. */
export type Maker = {
  /** Bytes of the alternative name, and whether it is a mail address or a web address. */
  readonly identity: string | Buffer;
  readonly kind?: 'mail' | 'web';
  readonly issuer: string | Buffer;
  /** More alternative names, ready made. */
  readonly others?: readonly Buffer[];
};

/** One entry of the log of signatures, as a bundle holds it. */
export type Entry = {
  [field: string]: unknown;
  integratedTime: string;
  canonicalizedBody: string;
  inclusionPromise?: { signedEntryTimestamp: string };
  inclusionProof: { [field: string]: unknown; checkpoint: { envelope: string } };
};

/** A bundle as the maker's tool writes it. */
export type KeylessBundle = {
  mediaType: string;
  verificationMaterial: {
    certificate: { rawBytes: string };
    tlogEntries: Entry[];
    timestampVerificationData?: { rfc3161Timestamps: { signedTimestamp: string }[] };
  };
  dsseEnvelope: { payload: string; payloadType: string; signatures: { sig: string }[] };
};

/** What may go otherwise than it should. */
export type Otherwise = {
  /** Seconds from the certificate's beginning to the entry in the log; certificates live for ten minutes. */
  readonly after?: number;
  /** A key that signs in place of the certified one. */
  readonly key?: KeyObject;
  /** A certificate that no log of certificates has seen. */
  readonly unseen?: boolean;
  /** The newer form: the log says no time, an authority stamps it. */
  readonly stamped?: boolean;
};

const certifiedAt = new Date('2026-03-04T05:06:07Z');
const founded = new Date('2026-01-01T00:00:00Z');
const dissolved = new Date('2036-01-01T00:00:00Z');

/** The hash over a Merkle tree, and the hashes beside the way from one leaf to the top. */
function merkleRoot(leaves: readonly Buffer[]): Buffer {
  if (leaves.length <= 1) return leaves[0] ?? sha256();
  const half = 2 ** Math.ceil(Math.log2(leaves.length) - 1);
  return sha256(Buffer.from([1]), merkleRoot(leaves.slice(0, half)), merkleRoot(leaves.slice(half)));
}

function merklePath(leaves: readonly Buffer[], index: number): Buffer[] {
  if (leaves.length <= 1) return [];
  const half = 2 ** Math.ceil(Math.log2(leaves.length) - 1);
  return index < half
    ? [...merklePath(leaves.slice(0, half), index), merkleRoot(leaves.slice(half))]
    : [...merklePath(leaves.slice(half), index - half), merkleRoot(leaves.slice(0, half))];
}

export class Sigstore {
  readonly #root: Issuer;
  readonly #intermediate: Issuer;
  readonly #chain: readonly Buffer[];
  readonly #clock: Issuer = { name: 'clock of the test', ...makePair() };
  readonly #clockCertificate: Buffer;
  readonly #certificateLog = makePair();
  readonly #signatureLog = makePair();
  /** Leaves of the log of signatures; others have used it before. */
  readonly #leaves: Buffer[] = ['a', 'b', 'c', 'd', 'e'].map((text) => sha256(Buffer.from([0]), Buffer.from(text)));

  constructor() {
    this.#root = { name: 'root of the test', ...makePair('P-384') };
    this.#intermediate = { name: 'intermediate of the test', ...makePair('P-384') };
    const certified = (who: Issuer, authority: number | undefined): Buffer =>
      certify(
        unsigned(
          {
            name: who.name,
            publicKey: who.publicKey,
            from: founded,
            to: dissolved,
            authority,
            extensions: [],
            stamps: who === this.#clock,
          },
          this.#root,
        ),
        this.#root,
      );
    this.#chain = [certified(this.#intermediate, 0), certified(this.#root, 1)];
    this.#clockCertificate = certified(this.#clock, undefined);
  }

  /** The text of `trusted-root.json`. */
  trustedRoot(): string {
    const validFor = { start: founded.toISOString() };
    const log = (baseUrl: string, { publicKey }: Pair) => ({
      baseUrl,
      hashAlgorithm: 'SHA2_256',
      publicKey: { rawBytes: publicDer(publicKey).toString('base64'), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor },
      logId: { keyId: sha256(publicDer(publicKey)).toString('base64') },
    });
    const authority = (uri: string, chain: readonly Buffer[]) => ({
      subject: { organization: 'test', commonName: this.#root.name },
      uri,
      certChain: { certificates: chain.map((der) => ({ rawBytes: der.toString('base64') })) },
      validFor,
    });
    return JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [log('https://log.test', this.#signatureLog)],
      certificateAuthorities: [authority('https://authority.test', this.#chain)],
      ctlogs: [log('https://certificates.test', this.#certificateLog)],
      timestampAuthorities: [authority('https://clock.test', [this.#clockCertificate, ...this.#chain.slice(1)])],
    });
  }

  /** Signs a statement as a maker does: with a key of ten minutes, a certificate for it, and an entry in the log. */
  sign(payload: Buffer, maker: Maker, otherwise: Otherwise = {}): KeylessBundle {
    const pair = makePair();
    const certificate = this.#certificate(maker, pair.publicKey, otherwise.unseen === true);
    const signature = sign('sha256', preAuthEncoding(payload), otherwise.key ?? pair.privateKey);
    const envelope = {
      payload: payload.toString('base64'),
      payloadType,
      signatures: [{ sig: signature.toString('base64') }],
    };
    const at = new Date(certifiedAt.getTime() + (otherwise.after ?? 5) * 1000);
    const material = { certificate: { rawBytes: certificate.toString('base64') } };
    if (otherwise.stamped === true) {
      const signatures = [
        {
          content: signature.toString('base64'),
          verifier: { keyDetails: 'PKIX_ECDSA_P256_SHA_256', x509Certificate: material.certificate },
        },
      ];
      const body = {
        apiVersion: '0.0.2',
        kind: 'dsse',
        spec: {
          dsseV002: { payloadHash: { algorithm: 'SHA2_256', digest: hash('sha256', payload, 'base64') }, signatures },
        },
      };
      const entry = this.#record(body, 0);
      delete entry.inclusionPromise;
      const signedTimestamp = stamp(signature, at, this.#clock, this.#root).toString('base64');
      return {
        mediaType,
        verificationMaterial: {
          ...material,
          tlogEntries: [entry],
          timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp }] },
        },
        dsseEnvelope: envelope,
      };
    }
    const verifier = Buffer.from(
      `-----BEGIN CERTIFICATE-----\n${material.certificate.rawBytes.replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
    ).toString('base64');
    const digest = (value: string | Buffer) => ({ algorithm: 'sha256', value: hash('sha256', value) });
    const spec = {
      envelopeHash: digest(JSON.stringify(envelope)),
      payloadHash: digest(payload),
      signatures: [{ signature: signature.toString('base64'), verifier }],
    };
    const entry = this.#record({ apiVersion: '0.0.1', kind: 'dsse', spec }, at.getTime() / 1000);
    return { mediaType, verificationMaterial: { ...material, tlogEntries: [entry] }, dsseEnvelope: envelope };
  }

  #certificate(maker: Maker, publicKey: KeyObject, unseen: boolean): Buffer {
    const name = tagged(maker.kind === 'web' ? 0x86 : 0x81, Buffer.from(maker.identity));
    const extensions = [
      extension('2.5.29.17', sequence(name, ...(maker.others ?? [])), true),
      extension('1.3.6.1.4.1.57264.1.1', Buffer.from(maker.issuer)),
      extension('1.3.6.1.4.1.57264.1.8', utf8(maker.issuer)),
    ];
    const subject: Subject = {
      name: '',
      publicKey,
      from: certifiedAt,
      to: new Date(certifiedAt.getTime() + 600_000),
      authority: undefined,
      extensions,
    };
    if (unseen) return certify(unsigned(subject, this.#intermediate), this.#intermediate);
    return certify(
      unsigned(
        { ...subject, extensions: [...extensions, this.#seen(unsigned(subject, this.#intermediate))] },
        this.#intermediate,
      ),
      this.#intermediate,
    );
  }

  /** The extension that says that the log of certificates has seen this one. */
  #seen(content: Buffer): Buffer {
    const { publicKey, privateKey } = this.#certificateLog;
    const at = bytes(8, BigInt(certifiedAt.getTime()));
    const none = bytes(2, 0);
    const promised = Buffer.concat([
      Buffer.from([0, 0]),
      at,
      bytes(2, 1),
      sha256(publicDer(this.#intermediate.publicKey)),
      bytes(3, content.length),
      content,
      none,
    ]);
    const signature = sign('sha256', promised, privateKey);
    const one = Buffer.concat([
      Buffer.from([0]),
      sha256(publicDer(publicKey)),
      at,
      none,
      Buffer.from([4, 3]),
      bytes(2, signature.length),
      signature,
    ]);
    return extension('1.3.6.1.4.1.11129.2.4.2', octets(bytes(2, one.length + 2), bytes(2, one.length), one));
  }

  /** Adds an entry to the log: with its promise, which holds the time, and with its proof. */
  #record(entry: { readonly apiVersion: string; readonly kind: string; readonly spec: unknown }, at: number): Entry {
    const body = Buffer.from(JSON.stringify(entry));
    const { publicKey, privateKey } = this.#signatureLog;
    const id = sha256(publicDer(publicKey));
    const logIndex = this.#leaves.push(sha256(Buffer.from([0]), body)) - 1;
    const canonicalizedBody = body.toString('base64');
    const promise = JSON.stringify({
      body: canonicalizedBody,
      integratedTime: at,
      logID: id.toString('hex'),
      logIndex,
    });
    const rootHash = merkleRoot(this.#leaves).toString('base64');
    const note = `log.test - 1\n${this.#leaves.length}\n${rootHash}\n`;
    const envelope = `${note}\n\u2014 log.test ${Buffer.concat([id.subarray(0, 4), sign('sha256', Buffer.from(note), privateKey)]).toString('base64')}\n`;
    return {
      logIndex: String(logIndex),
      logId: { keyId: id.toString('base64') },
      kindVersion: { kind: entry.kind, version: entry.apiVersion },
      integratedTime: String(at),
      inclusionPromise: { signedEntryTimestamp: sign('sha256', Buffer.from(promise), privateKey).toString('base64') },
      inclusionProof: {
        logIndex: String(logIndex),
        rootHash,
        treeSize: String(this.#leaves.length),
        hashes: merklePath(this.#leaves, logIndex).map((one) => one.toString('base64')),
        checkpoint: { envelope },
      },
      canonicalizedBody,
    };
  }
}
