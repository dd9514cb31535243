/**
 * The operator's signing key: made here, kept under a passphrase (argon2id, AES-256-GCM), or in a PEM file of theirs.
 *
 * Promise: the private part is never written in the clear.
 * Limits:  a passphrase that can be guessed gives no protection; the text of the key is as safe as its file.
 * @module
 */
import {
  argon2Sync,
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Fault } from './verification-error.ts';
import { Shape } from './json-shape.ts';

/** A fresh P-256 pair. */
export function makeSigningKey(): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** PEM text of a public key, as other tools write it. */
export function publicPem(key: KeyObject): string {
  return (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'pem' });
}

const cost = { parallelism: 1, memory: 64 * 1024, passes: 3 } as const;
const context = Buffer.from('kwyre operator key v1', 'latin1');

function deriveKey(passphrase: Buffer, salt: Buffer): Buffer {
  return argon2Sync('argon2id', { message: passphrase, nonce: salt, tagLength: 32, ...cost });
}

/** The key as text that only the passphrase opens. */
export function wrapKey(key: KeyObject, passphrase: Buffer): string {
  const salt = randomBytes(16);
  const nonce = randomBytes(12);
  const wrapping = deriveKey(passphrase, salt);
  const clear = key.export({ type: 'pkcs8', format: 'der' });
  try {
    const cipher = createCipheriv('aes-256-gcm', wrapping, nonce).setAAD(context);
    const sealed = Buffer.concat([cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
    return `${JSON.stringify({ version: 1, kdf: 'argon2id', ...cost, salt: salt.toString('base64'), nonce: nonce.toString('base64'), sealed: sealed.toString('base64'), public: publicPem(key) }, null, 2)}\n`;
  } finally {
    wrapping.fill(0);
    clear.fill(0);
  }
}

/** Opens a wrapped key. @throws `*_KEY_INVALID` for a wrong passphrase or a damaged file */
export function unwrapKey(text: string, passphrase: Buffer, fault: Fault): KeyObject {
  const shape = new Shape(fault, 'KEY_INVALID', 'the operator key');
  const fields = shape.object(shape.json(Buffer.from(text, 'utf8'), 64 << 10), 'key', [
    'version',
    'kdf',
    'parallelism',
    'memory',
    'passes',
    'salt',
    'nonce',
    'sealed',
    'public',
  ]);
  if (
    fields['version'] !== 1 ||
    fields['kdf'] !== 'argon2id' ||
    fields['memory'] !== cost.memory ||
    fields['passes'] !== cost.passes ||
    fields['parallelism'] !== cost.parallelism
  ) {
    return shape.refuse('the format', 'is not known here');
  }
  const sealed = shape.base64(fields['sealed'], 'sealed');
  const nonce = shape.base64(fields['nonce'], 'nonce');
  if (nonce.length !== 12 || sealed.length < 17) return shape.refuse('sealed', 'is damaged');
  const wrapping = deriveKey(passphrase, shape.base64(fields['salt'], 'salt'));
  try {
    const decipher = createDecipheriv('aes-256-gcm', wrapping, nonce).setAAD(context).setAuthTag(sealed.subarray(-16));
    const clear = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
    try {
      return createPrivateKey({ key: clear, type: 'pkcs8', format: 'der' });
    } finally {
      clear.fill(0);
    }
  } catch {
    throw fault('KEY_INVALID', 'the passphrase does not open the operator key');
  } finally {
    wrapping.fill(0);
  }
}

/** Reads a private key from a PEM file of the operator, with its passphrase if it has one. @throws `*_KEY_INVALID` */
export function readPrivatePem(pem: string, passphrase: Buffer | undefined, fault: Fault): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    throw fault(
      'KEY_INVALID',
      'the private key cannot be read: a PEM file with a P-256 key is needed, and its passphrase if it has one',
    );
  }
}
