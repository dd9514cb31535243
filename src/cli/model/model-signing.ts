/**
 * `kwyre model sign`: writes a signature that every OpenSSF Model Signing verifier accepts. This module also chooses
 * the signing key.
 *
 * Proof: test/attacks/4-model.test.ts
 * @module
 */
import type { KeyObject } from 'node:crypto';
import * as fs from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import { makeSigningKey, publicPem } from '../../oms/operator-key.ts';
import { keyIdOf } from '../../oms/signature.ts';
import type { SigningRequest } from '../../oms/signer.ts';
import { hashFiles, signFiles } from '../../oms/signer.ts';
import { readSigningKey, unlockOperatorKey } from '../signing-key.ts';
import type { Flags } from './model-flags.ts';
import { countFiles, fault, methodOf, print } from './model-flags.ts';
import { excludedFiles, rights } from './upstream-signature.ts';

const { createPublicKey } = process.getBuiltinModule('node:crypto');

/** Returns the signing key and its origin. A key of kind `once` is generated now and not stored. */
export async function chooseKey(
  values: Flags,
  state: string,
): Promise<{ key: KeyObject; kind: 'file' | 'operator' | 'once' }> {
  const passphraseFile = values['passphrase-file'];
  if (values.key !== undefined) return { key: await readSigningKey(values.key, passphraseFile, fault), kind: 'file' };
  const key = await unlockOperatorKey(state, passphraseFile, fault);
  return key === undefined ? { key: makeSigningKey().privateKey, kind: 'once' } : { key, kind: 'operator' };
}

/** Signs a folder or a file for other verifiers. @throws `USAGE_MODEL_KEY` if there is no stored key */
export async function sign(path: string, values: Flags, state: string): Promise<number> {
  const full = resolve(path);
  const folder = fs.lstatSync(full).isDirectory();
  const { key, kind } = await chooseKey(values, state);
  if (kind === 'once')
    throw new KwyreError(
      'USAGE_MODEL_KEY',
      'signing for others needs a key that you keep',
      'give a P-256 key with --key FILE: openssl ecparam -name prime256v1 -genkey -noout -out key.pem',
    );
  const order: SigningRequest = {
    disk: fs,
    layer: 4,
    root: folder ? full : join(full, '..'),
    only: folder ? undefined : [basename(full)],
    excluded: excludedFiles,
    rights,
    name: basename(full),
    method: methodOf(values, 0),
  };
  const out = values.out ?? (folder ? join(full, 'model.sig') : `${full}.sig`);
  const files = hashFiles(order, fault);
  fs.writeFileSync(out, signFiles(order, files, key, fault));
  print(
    values,
    { signature: out, files: files.length, key: keyIdOf(createPublicKey(key)) },
    `signed ${countFiles(files.length)}: ${out}\npublic key for verifiers:\n${publicPem(key)}`,
  );
  return 0;
}
