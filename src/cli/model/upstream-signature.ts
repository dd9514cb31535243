/**
 * Verifies the maker's signature, a file next to the model, and describes it before the operator approves the model.
 * The signature is made with a key or a certificate, or it is keyless.
 *
 * Promise: "verified" covers the signature and every file. An invalid signature is refused (exit 14). If the operator
 *          named the maker, so is a missing signature or a signature of another kind.
 * Proof:   test/attacks/4-keyless.test.ts, test/unit/cli/upstream-signature.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import { signatureNames } from '../../layers/4-model/approval.ts';
import { parseBundle } from '../../oms/bundle.ts';
import type { Fault } from '../../oms/verification-error.ts';
import { DifferenceError } from '../../oms/verification-error.ts';
import { parsePublicKey, verifySignature } from '../../oms/signature.ts';
import { defaultExclusions, parseStatement } from '../../oms/statement.ts';
import { compareTree } from '../../oms/manifest-verifier.ts';
import { verifyKeyless } from './sigstore.ts';

const { X509Certificate } = process.getBuiltinModule('node:crypto');

/** The required signer of the model, as named by the operator. */
export type Maker = {
  readonly key?: string | undefined;
  readonly root?: string | undefined;
  readonly identity?: string | undefined;
  readonly issuer?: string | undefined;
};

/** Models may belong to any user. */
export const rights = { owners: undefined, refuseGroupWritable: false, refuseLinks: false };
/** The files in a model's folder that no manifest covers. */
export const excludedFiles: ReadonlySet<string> = new Set([...defaultExclusions, ...signatureNames]);

/** @throws `USAGE_FILE` */
function readFile(path: string): Buffer {
  try {
    return fs.readFileSync(path);
  } catch {
    throw new KwyreError('USAGE_FILE', `cannot read ${path}`, 'give the path of a PEM file');
  }
}

/** Verifies the signature and describes the signer. */
async function describeSigner(bytes: Buffer, maker: Maker, fault: Fault): Promise<string> {
  const bundle = parseBundle(bytes, fault);
  if (bundle.material.method === 'sigstore') {
    const { identity, issuer } = await verifyKeyless(bytes, maker, fault);
    return (
      `keyless by ${identity} (issuer ` +
      `${issuer})${maker.identity === undefined ? '; check that this is the maker of the model' : ''}`
    );
  }
  const trust = {
    keys: maker.key === undefined ? [] : [parsePublicKey(readFile(maker.key).toString('utf8'), fault)],
    roots: maker.root === undefined ? [] : [new X509Certificate(readFile(maker.root))],
  };
  const signer = verifySignature(bundle, trust, new Date(), fault);
  return signer.method === 'key'
    ? `by key ${signer.keyId.slice(0, 16)}`
    : `by ${signer.subject.replaceAll('\n', ', ')}`;
}

/**
 * Verifies the maker's signature, if there is one, and describes it.
 * @throws `L4_*` if it is invalid, or was not made by the maker that the operator named
 */
export async function describeUpstream(root: string, maker: Maker, fault: Fault): Promise<string> {
  const wantsKey = maker.key !== undefined || maker.root !== undefined;
  const wantsIdentity = maker.identity !== undefined || maker.issuer !== undefined;
  const name = signatureNames.find((candidate) => fs.existsSync(join(root, candidate)));
  if (name === undefined) {
    if (wantsKey || wantsIdentity)
      throw fault(
        'SIGNATURE_ABSENT',
        `${root} has no signature of the maker`,
        `get ${signatureNames.join(' or ')} from the source of the model, or add the model without an --upstream flag`,
      );
    return 'none';
  }
  const bytes = readFile(join(root, name));
  const bundle = parseBundle(bytes, fault);
  const keyless = bundle.material.method === 'sigstore';
  // Anyone can make a signature of the other kind, and could replace the maker's signature with it.
  if (wantsKey && keyless)
    throw fault(
      'SIGNER_UNTRUSTED',
      'the signature of the model is keyless, not by the given key or certificate',
      'compare it with what the maker of the model publishes',
    );
  if (wantsIdentity && !keyless)
    throw fault(
      'SIGNER_UNTRUSTED',
      'the signature of the model is not keyless, so it is not by the given identity',
      'compare it with what the maker of the model publishes',
    );
  if (!keyless && !wantsKey)
    return (
      `${name}: present, not verified; name the maker's key with --upstream-key or root certificate with ` +
      '--upstream-root'
    );
  const signer = await describeSigner(bytes, maker, fault);
  const statement = parseStatement(bundle.payload, { allowedIgnores: signatureNames }, fault);
  const shardBytes = statement.method.kind === 'shards' ? statement.method.shardBytes : undefined;
  const { differences } = compareTree({
    disk: fs,
    root,
    files: statement.files,
    excluded: excludedFiles,
    rights,
    shardBytes,
  });
  if (differences.length > 0)
    throw new DifferenceError(
      4,
      `the model in ${root}`,
      differences,
      'it differs from what its maker signed: download it again',
    );
  const count = statement.files.length === 1 ? '1 file' : `${statement.files.length} files`;
  return `${name}: verified, ${count}, signed ${signer}`;
}
