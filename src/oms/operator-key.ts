/**
 * The operator's signing key: generated here and encrypted with a passphrase (argon2id, AES-256-GCM), or read from the
 * operator's PEM file.
 *
 * Promise: the private key is never written unencrypted.
 * Limits:  a guessable passphrase does not protect the key.
 * @module
 */
import type { KeyObject } from 'node:crypto';
import type { Fault } from './verification-error.ts';
import { Shape } from './json-shape.ts';

const {
  argon2Sync,
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
} = process.getBuiltinModule('node:crypto');

/** Generates a P-256 key pair. */
export function makeSigningKey(): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** Returns the public key as PEM. */
export function publicPem(key: KeyObject): string {
  return (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'pem' });
}

const cost = { parallelism: 1, memory: 64 * 1024, passes: 3 } as const;
const context = Buffer.from('kwyre operator key v1', 'latin1');

function deriveKey(passphrase: Buffer, salt: Buffer): Buffer {
  return argon2Sync('argon2id', { message: passphrase, nonce: salt, tagLength: 32, ...cost });
}

/** Encrypts the private key with a passphrase. */
export function wrapKey(key: KeyObject, passphrase: Buffer): string {
  const salt = randomBytes(16);
  const nonce = randomBytes(12);
  const wrapping = deriveKey(passphrase, salt);
  const clear = key.export({ type: 'pkcs8', format: 'der' });
  try {
    const cipher = createCipheriv('aes-256-gcm', wrapping, nonce).setAAD(context);
    const sealed = Buffer.concat([cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
    const fields = {
      version: 1,
      kdf: 'argon2id',
      ...cost,
      salt: salt.toString('base64'),
      nonce: nonce.toString('base64'),
      sealed: sealed.toString('base64'),
      public: publicPem(key),
    };
    return `${JSON.stringify(fields, null, 2)}\n`;
  } finally {
    wrapping.fill(0);
    clear.fill(0);
  }
}

/** Decrypts a key from `wrapKey`. @throws `*_KEY_INVALID` for a wrong passphrase or a damaged file */
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
    return shape.refuse('the format', 'is not supported');
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
    throw fault('KEY_INVALID', 'the passphrase does not decrypt the operator key');
  } finally {
    wrapping.fill(0);
  }
}

/** Reads a private key from PEM, encrypted or unencrypted. @throws `*_KEY_INVALID` */
export function readPrivatePem(pem: string, passphrase: Buffer | undefined, fault: Fault): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    throw fault(
      'KEY_INVALID',
      'the private key cannot be read: it must be a PEM file with a P-256 key; if encrypted, its passphrase is needed',
    );
  }
}
