/**
 * The signature that a model's maker put beside it: by a key, by a certificate, or keyless; shown before the operator approves.
 *
 * Promise: what is called verified is: the signature, and every file against it. Bad evidence refuses (exit 14).
 * Proof:   test/attacks/4-keyless.test.ts, test/unit/cli/upstream.test.ts
 * @module
 */
import { X509Certificate } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { signatureNames } from '../layers/4-model/manifest.ts';
import { parseBundle } from '../oms/bundle.ts';
import type { Fault } from '../oms/fault.ts';
import { DifferenceError } from '../oms/fault.ts';
import { parsePublicKey, verifySignature } from '../oms/signature.ts';
import { defaultExclusions, parseStatement } from '../oms/statement.ts';
import { compareTree } from '../oms/verify.ts';
import { guardLoads, verifyKeyless } from './keyless.ts';

/** Whom the operator takes for the maker. */
export type Maker = { readonly key?: string | undefined; readonly root?: string | undefined; readonly identity?: string | undefined; readonly issuer?: string | undefined };

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
    guardLoads();
    const { identity, issuer } = await verifyKeyless(bytes, maker, fault);
    return `keyless by ${identity} (vouched for by ${issuer})${maker.identity === undefined ? '; is that the maker of this model?' : ''}`;
  }
  const trust = {
    keys: maker.key === undefined ? [] : [parsePublicKey(readFile(maker.key).toString('utf8'), fault)],
    roots: maker.root === undefined ? [] : [new X509Certificate(readFile(maker.root))],
  };
  const signer = verifySignature(bundle, trust, new Date(), fault);
  return signer.method === 'key' ? `by key ${signer.keyId.slice(0, 16)}` : `by ${signer.subject.replaceAll('\n', ', ')}`;
}

/** What there is to say of the maker's signature. @throws `L4_*` when there is one and it does not hold */
export async function describeUpstream(root: string, files: number, maker: Maker, fault: Fault): Promise<string> {
  const name = signatureNames.find((candidate) => fs.existsSync(join(root, candidate)));
  if (name === undefined) return 'none';
  const bytes = readFile(join(root, name));
  const bundle = parseBundle(bytes, fault);
  if (bundle.material.method !== 'sigstore' && maker.key === undefined && maker.root === undefined) return `${name}: present, not verified; give the maker's key with --upstream-key or root certificate with --upstream-root`;
  const signer = await nameSigner(bytes, maker, fault);
  const statement = parseStatement(bundle.payload, { allowedIgnores: signatureNames }, fault);
  const shardBytes = statement.method.kind === 'shards' ? statement.method.shardBytes : undefined;
  const { differences } = compareTree({ disk: fs, root, files: statement.files, excluded: excludedFiles, rights, shardBytes });
  if (differences.length > 0) throw new DifferenceError(4, `the model in ${root}`, differences, 'it is not what its maker signed: get it again from where it came');
  return `${name}: verified, ${statement.files.length} of ${files} files, signed ${signer}`;
}
