/**
 * Verifies a certificate chain up to a trusted root, and verifies that the leaf may sign.
 *
 * Promise: every certificate is issued and signed by the next certificate in the chain, every issuer is a certificate
 *          authority, every certificate is valid now, and the leaf has the usage digitalSignature or codeSigning.
 * Limits:  revocation lists and name constraints are not supported, so use a root that the operator controls.
 * Source:  RFC 5280
 * Proof:   test/unit/oms/vectors.test.ts
 * @module
 */
import type * as crypto from 'node:crypto';
import type { Fault } from './verification-error.ts';

const { X509Certificate } = process.getBuiltinModule('node:crypto');

const maxDepth = 8;
const codeSigning = '1.3.6.1.5.5.7.3.3';

/** The leaf and the trusted root of a chain. */
type Chain = { readonly leaf: crypto.X509Certificate; readonly root: crypto.X509Certificate };

function inValidity(certificate: crypto.X509Certificate, now: Date): boolean {
  return now >= certificate.validFromDate && now <= certificate.validToDate;
}

/** Parses the DER element at an offset: its tag, and the start and end of its content. */
function element(der: Buffer, at: number): { tag: number; start: number; end: number } | undefined {
  const tag = der[at];
  const first = der[at + 1];
  if (tag === undefined || first === undefined) return undefined;
  if (first < 0x80) return { tag, start: at + 2, end: at + 2 + first };
  const octets = first & 0x7f;
  if (octets === 0 || octets > 4 || at + 2 + octets > der.length) return undefined;
  const length = der.readUIntBE(at + 2, octets);
  return { tag, start: at + 2 + octets, end: at + 2 + octets + length };
}

const keyUsageOid = Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x0f]);

/** Returns whether the keyUsage extension has the digitalSignature bit; Node does not expose this extension. */
function hasDigitalSignature(der: Buffer): boolean {
  // certificate > tbsCertificate > [3] extensions > list > extension{oid, critical?, octets{bit string}}
  const outer = element(der, 0);
  const body = outer === undefined ? undefined : element(der, outer.start);
  if (body === undefined || body.end > der.length) return false;
  for (let at = body.start; at < body.end;) {
    const field = element(der, at);
    if (field === undefined) return false;
    if (field.tag === 0xa3) return searchExtensions(der, field.start);
    at = field.end;
  }
  return false;
}

function searchExtensions(der: Buffer, start: number): boolean {
  const list = element(der, start);
  if (list === undefined || list.end > der.length) return false;
  for (let at = list.start; at < list.end;) {
    const extension = element(der, at);
    if (extension === undefined) return false;
    if (der.subarray(extension.start, extension.start + keyUsageOid.length).equals(keyUsageOid)) {
      let inner = element(der, extension.start + keyUsageOid.length);
      if (inner?.tag === 0x01) inner = element(der, inner.end);
      const bits = inner?.tag === 0x04 ? element(der, inner.start) : undefined;
      if (bits?.tag !== 0x03 || bits.end - bits.start < 2) return false;
      return ((der[bits.start + 1] ?? 0) & 0x80) !== 0;
    }
    at = extension.end;
  }
  return false;
}

function maySign(certificate: crypto.X509Certificate): boolean {
  const usages = certificate.keyUsage as readonly string[] | undefined; // Node's name for the *extended* usages
  return usages?.includes(codeSigning) === true || hasDigitalSignature(certificate.raw);
}

function issued(certificate: crypto.X509Certificate, issuer: crypto.X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/**
 * Verifies a chain, in which the leaf comes first, up to one of the roots.
 * @throws `*_CERTIFICATE_INVALID` for a bad chain, `*_SIGNER_UNTRUSTED` for a chain that leads to no trusted root
 */
export function verifyChain(
  certificates: readonly Buffer[],
  roots: readonly crypto.X509Certificate[],
  now: Date,
  fault: Fault,
): Chain {
  let parsed: crypto.X509Certificate[];
  try {
    parsed = certificates.map((der) => new X509Certificate(der));
  } catch {
    throw fault('CERTIFICATE_INVALID', 'the signature contains a certificate that cannot be parsed');
  }
  const [leaf, ...others] = parsed;
  if (leaf === undefined) throw fault('CERTIFICATE_INVALID', 'the signature contains no certificate');
  if (!inValidity(leaf, now)) throw fault('CERTIFICATE_INVALID', 'the signing certificate is expired or not yet valid');
  if (!maySign(leaf))
    throw fault('CERTIFICATE_INVALID', 'the signing certificate lacks the usage digitalSignature or codeSigning');
  let current = leaf;
  for (let depth = 0; depth < maxDepth; depth += 1) {
    const last = current;
    const root = roots.find((candidate) => candidate.fingerprint256 === last.fingerprint256 || issued(last, candidate));
    if (root !== undefined) {
      if (!inValidity(root, now))
        throw fault('CERTIFICATE_INVALID', 'the root certificate is expired or not yet valid');
      return { leaf, root };
    }
    const next = others.find(
      (candidate) => candidate.fingerprint256 !== last.fingerprint256 && issued(last, candidate),
    );
    if (next === undefined || !inValidity(next, now)) break;
    others.splice(others.indexOf(next), 1);
    current = next;
  }
  throw fault('SIGNER_UNTRUSTED', 'the certificate chain of the signature does not lead to a trusted root');
}
