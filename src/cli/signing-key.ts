/**
 * The key that signs models and installations. It comes from a PEM file, or it is the operator's key in the state
 * folder.
 *
 * Promise: a passphrase is overwritten once the key is unlocked.
 * Proof:   test/attacks/4-model.test.ts, test/e2e/prompts.test.ts
 * @module
 */
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { KwyreError } from '../base/errors.ts';
import { makeSigningKey, readPrivatePem, unwrapKey, wrapKey } from '../oms/operator-key.ts';
import type { Fault } from '../oms/verification-error.ts';
import { readOperatorKey, writeOperatorKey } from '../state/model-records.ts';
import { askNewPassphrase, askPassphrase } from './prompt.ts';

/** Reads a PEM file that the user named. @throws `USAGE_FILE` */
export function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new KwyreError(
      'USAGE_FILE',
      `cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      'give the path of a PEM file',
    );
  }
}

/** Calls `unlock` with a passphrase, then overwrites the passphrase. */
function withPassphrase<T>(passphrase: Buffer, unlock: (passphrase: Buffer) => T): T {
  try {
    return unlock(passphrase);
  } finally {
    passphrase.fill(0);
  }
}

/**
 * Reads a private key from a PEM file.
 * @param passphraseFile - if omitted, the key must not be encrypted
 * @throws `USAGE_FILE`, and the error that `fault` returns for a key that cannot be used
 */
export async function readSigningKey(
  path: string,
  passphraseFile: string | undefined,
  fault: Fault,
): Promise<KeyObject> {
  const pem = readPem(path);
  if (passphraseFile === undefined) return readPrivatePem(pem, undefined, fault);
  return withPassphrase(await askPassphrase(passphraseFile), (passphrase) => readPrivatePem(pem, passphrase, fault));
}

/**
 * Unlocks the operator's key with a passphrase, which is read from a file or typed.
 * @returns `undefined` if the state folder has no such key
 */
export async function unlockOperatorKey(
  state: string,
  passphraseFile: string | undefined,
  fault: Fault,
): Promise<KeyObject | undefined> {
  const wrapped = readOperatorKey(state);
  if (wrapped === undefined) return undefined;
  return withPassphrase(await askPassphrase(passphraseFile), (passphrase) => unwrapKey(wrapped, passphrase, fault));
}

/** Creates the operator's key and stores it, encrypted with a new passphrase. */
export async function createOperatorKey(state: string, passphraseFile: string | undefined): Promise<KeyObject> {
  const { privateKey } = makeSigningKey();
  const passphrase = await askNewPassphrase(passphraseFile);
  writeOperatorKey(
    state,
    withPassphrase(passphrase, (secret) => wrapKey(privateKey, secret)),
  );
  return privateKey;
}
