/**
 * The Node binary's OpenSSL, called with addresses: AES-256-GCM and HMAC-SHA-256 on memory outside the JavaScript heap,
 * and overwriting that memory.
 *
 * Promise: keys are read in place. After every use, even a failed one, the context, which holds the expanded key, is
 *          freed (OpenSSL cleanses it), and the native stack is overwritten.
 * Limits:  no secrets are generated here, because the state of OpenSSL's generator is on the heap; `random.ts` calls
 *          the kernel instead. Uses functions that are stable since OpenSSL 1.1; the import fails if Node lacks one.
 * Source:  EVP_EncryptInit(3), HMAC(3), RAND_bytes(3)
 * Proof:   test/unit/layers/5-session-cipher.test.ts, test/attacks/5-derive.test.ts
 * @module
 */
import { bug } from '../../base/errors.ts';
import { libc } from '../ffi.ts';
import type { Address } from './mapped-memory.ts';
import { cleanseStack } from './native-stack.ts';

const cipherNew = libc.func('void *EVP_CIPHER_CTX_new()') as () => Address | null;
const cipherFree = libc.func('void EVP_CIPHER_CTX_free(void *context)') as (context: Address) => void;
const cipherFetch = libc.func('void *EVP_CIPHER_fetch(void *library, const char *name, const char *properties)') as (
  library: null,
  name: string,
  properties: null,
) => Address | null;
const cipherControl = libc.func('int EVP_CIPHER_CTX_ctrl(void *context, int command, int number, void *pointer)') as (
  context: Address,
  command: number,
  number: number,
  pointer: Address | null,
) => number;
type CipherInit = (context: Address, cipher: Address, engine: null, key: Address, nonce: Address) => number;
type CipherUpdate = (context: Address, out: Address | null, length: number[], from: Address, count: number) => number;
type CipherFinal = (context: Address, out: Address, length: number[]) => number;
const encryptInit = libc.func(
  'int EVP_EncryptInit_ex(void *context, void *cipher, void *engine, void *key, void *nonce)',
) as CipherInit;
const encryptUpdate = libc.func(
  'int EVP_EncryptUpdate(void *context, void *out, _Out_ int *length, void *in, int count)',
) as CipherUpdate;
const encryptFinal = libc.func('int EVP_EncryptFinal_ex(void *context, void *out, _Out_ int *length)') as CipherFinal;
const decryptInit = libc.func(
  'int EVP_DecryptInit_ex(void *context, void *cipher, void *engine, void *key, void *nonce)',
) as CipherInit;
const decryptUpdate = libc.func(
  'int EVP_DecryptUpdate(void *context, void *out, _Out_ int *length, void *in, int count)',
) as CipherUpdate;
const decryptFinal = libc.func('int EVP_DecryptFinal_ex(void *context, void *out, _Out_ int *length)') as CipherFinal;
const hmacNew = libc.func('void *HMAC_CTX_new()') as () => Address | null;
const hmacInit = libc.func('int HMAC_Init_ex(void *context, void *key, int length, void *digest, void *engine)') as (
  context: Address,
  key: Address,
  length: number,
  digest: Address,
  engine: null,
) => number;
const hmacUpdate = libc.func('int HMAC_Update(void *context, void *data, size_t length)') as (
  context: Address,
  data: Address,
  length: number,
) => number;
const hmacFinal = libc.func('int HMAC_Final(void *context, void *out, void *length)') as (
  context: Address,
  out: Address,
  length: null,
) => number;
const hmacFree = libc.func('void HMAC_CTX_free(void *context)') as (context: Address) => void;
const sha256 = libc.func('void *EVP_sha256()') as () => Address;
const randBytes = libc.func('int RAND_bytes(void *out, int count)') as (out: Address, count: number) => number;
const randCleanse = libc.func('void OPENSSL_cleanse(void *address, size_t count)') as (
  address: Address,
  count: number,
) => void;

const gcm = { setTag: 0x11, getTag: 0x10 } as const;
const largest = 1 << 30;

/** Size of an AES-256-GCM or HMAC-SHA-256 key, in bytes. */
export const keyBytes = 32;
/** Size of an AES-GCM nonce, in bytes. */
export const nonceBytes = 12;
/** Size of an AES-GCM tag, in bytes. */
export const tagBytes = 16;
/** Size of an HMAC-SHA-256, in bytes. */
export const macBytes = 32;

const aes256Gcm = cipherFetch(null, 'AES-256-GCM', null) ?? bug('this OpenSSL has no AES-256-GCM');

function must(result: number): void {
  if (result !== 1) bug('OpenSSL refused a call');
}

/** Memory that is authenticated but not encrypted: the associated data of AES-GCM, or a piece of an HMAC's input. */
type Binding = { readonly address: Address; readonly bytes: number };

/** Splits a long input into pieces whose size fits an `int`. */
function inPieces(bytes: number, take: (at: bigint, count: number) => void): void {
  for (let at = 0; at < bytes; at += largest) take(BigInt(at), Math.min(largest, bytes - at));
}

function withCipher<T>(use: (context: Address) => T): T {
  const context = cipherNew() ?? bug('no memory for a cipher');
  try {
    return use(context);
  } finally {
    cipherFree(context);
    cleanseStack();
  }
}

/** Encrypts `bytes` from one address to another (or in place) and writes the tag. */
export function encryptMemory(
  key: Address,
  nonce: Address,
  binding: Binding,
  from: Address,
  to: Address,
  bytes: number,
  tag: Address,
): void {
  withCipher((context) => {
    const length = [0];
    must(encryptInit(context, aes256Gcm, null, key, nonce));
    must(encryptUpdate(context, null, length, binding.address, binding.bytes));
    inPieces(bytes, (at, count) => {
      must(encryptUpdate(context, to + at, length, from + at, count));
    });
    must(encryptFinal(context, to, length));
    must(cipherControl(context, gcm.getTag, tagBytes, tag));
  });
}

/**
 * Decrypts `bytes` from one address to another (or in place). Returns `false` if authentication fails; in that case the
 * memory at `to` must not be used.
 */
export function decryptMemory(
  key: Address,
  nonce: Address,
  binding: Binding,
  from: Address,
  to: Address,
  bytes: number,
  tag: Address,
): boolean {
  return withCipher((context) => {
    const length = [0];
    must(decryptInit(context, aes256Gcm, null, key, nonce));
    must(decryptUpdate(context, null, length, binding.address, binding.bytes));
    inPieces(bytes, (at, count) => {
      must(decryptUpdate(context, to + at, length, from + at, count));
    });
    must(cipherControl(context, gcm.setTag, tagBytes, tag));
    return decryptFinal(context, to, length) === 1;
  });
}

/** Writes the HMAC-SHA-256 of the concatenated pieces to `out`. */
export function authenticateMemory(key: Address, pieces: readonly Binding[], out: Address): void {
  const context = hmacNew() ?? bug('no memory for an HMAC');
  try {
    must(hmacInit(context, key, keyBytes, sha256(), null));
    for (const { address, bytes } of pieces) if (bytes > 0) must(hmacUpdate(context, address, bytes));
    must(hmacFinal(context, out, null));
  } finally {
    hmacFree(context);
    cleanseStack();
  }
}

/** Overwrites memory with random bytes from OpenSSL's generator, which is ten times as fast as the kernel's. */
export function overwriteMemory(address: Address, bytes: number): void {
  inPieces(bytes, (at, count) => {
    must(randBytes(address + at, count));
  });
}

/** Overwrites memory with a call that no compiler optimizes away. */
export function cleanseMemory(address: Address, bytes: number): void {
  randCleanse(address, bytes);
}
