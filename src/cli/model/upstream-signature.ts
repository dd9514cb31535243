/**
 * The signature that a model's maker put beside it: by a key, by a certificate, or keyless; shown before the operator
 * approves.
 *
 * Promise: what is called verified is: the signature, and every file against it. Bad evidence refuses (exit 14), and so
 *          does less than was asked for: no signature, or one of another kind.
 * Proof:   test/attacks/4-keyless.test.ts, test/unit/cli/upstream-signature.test.ts
 * @module
 */
import { X509Certificate } from 'node:crypto';
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

/** Whom the operator takes for the maker. */
export type Maker = {
  readonly key?: string | undefined;
  readonly root?: string | undefined;
  readonly identity?: string | undefined;
  readonly issuer?: string | undefined;
};

const rights = { owners: undefined, refuseGroupWritable: false, refuseLinks: false };
export const excludedFiles: ReadonlySet<string> = new Set([...defaultExclusions, ...signatureNames]);

/** @throws `USAGE_FILE` */
function readFile(path: string): Buffer {
  try {
    return fs.readFileSync(path);
  } catch {
    throw new KwyreError('USAGE_FILE', `cannot read ${path}`, 'give the path of a PEM file');
  }
}

async function nameSigner(bytes: Buffer, maker: Maker, fault: Fault): Promise<string> {
  const bundle = parseBundle(bytes, fault);
  if (bundle.material.method === 'sigstore') {
    const { identity, issuer } = await verifyKeyless(bytes, maker, fault);
    return `keyless by ${identity} (vouched for by ${issuer})${maker.identity === undefined ? '; is that the maker of this model?' : ''}`;
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
 * What there is to say of the maker's signature. @throws `L4_*` when there is one and it does not hold, or when it is
 * not what was asked for
 */
export async function describeUpstream(root: string, maker: Maker, fault: Fault): Promise<string> {
  const askedForKey = maker.key !== undefined || maker.root !== undefined;
  const askedForName = maker.identity !== undefined || maker.issuer !== undefined;
  const name = signatureNames.find((candidate) => fs.existsSync(join(root, candidate)));
  if (name === undefined) {
    if (askedForKey || askedForName)
      throw fault(
        'SIGNATURE_ABSENT',
        `there is no signature of the maker in ${root}`,
        `get ${signatureNames.join(' or ')} from where the model came, or add the model without asking for its maker`,
      );
    return 'none';
  }
  const bytes = readFile(join(root, name));
  const bundle = parseBundle(bytes, fault);
  const keyless = bundle.material.method === 'sigstore';
  // Anybody can sign in the other way: whoever took the maker's signature away would put that one in its place.
  if (askedForKey && keyless)
    throw fault(
      'SIGNER_UNTRUSTED',
      'the signature beside the model is keyless, not by a key or certificate that was asked for',
      'compare with what the maker of the model publishes',
    );
  if (askedForName && !keyless)
    throw fault(
      'SIGNER_UNTRUSTED',
      'the signature beside the model is not keyless, so it is not by the identity that was asked for',
      'compare with what the maker of the model publishes',
    );
  if (!keyless && !askedForKey)
    return `${name}: present, not verified; give the maker's key with --upstream-key or root certificate with --upstream-root`;
  const signer = await nameSigner(bytes, maker, fault);
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
      'it is not what its maker signed: get it again from where it came',
    );
  return `${name}: verified, ${statement.files.length === 1 ? '1 file' : `${statement.files.length} files`}, signed ${signer}`;
}
