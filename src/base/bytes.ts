/**
 * Buffers that can be overwritten after use: outside Node's shared pool, and for plaintext in the working set.
 *
 * Limits: overwriting a buffer does not reach copies of it.
 * Proof:  test/unit/base/bytes.test.ts
 * @module
 */

/**
 * Returns a zero-filled buffer outside the shared pool of `Buffer.from` and `allocUnsafe`.
 *
 * It is made over an `ArrayBuffer`: V8 keeps typed arrays of up to 64 bytes in its heap and copies them out once native
 * code takes their address, which leaves the first copy behind.
 */
export function unpooledBytes(length: number): Buffer {
  return Buffer.from(new ArrayBuffer(length));
}

/** Copies `source` into an unpooled buffer. */
export function copyBytes(source: Uint8Array): Buffer {
  const bytes = unpooledBytes(source.length);
  bytes.set(source);
  return bytes;
}

let allocatePlaintext: ((length: number) => ArrayBuffer) | undefined;

/** Sets the allocator of {@link plaintextMemory}; the engine calls it once, before it reads any plaintext. */
export function usePlaintextMemory(allocate: (length: number) => ArrayBuffer): void {
  allocatePlaintext = allocate;
}

/** Returns zero-filled memory for a conversation's text or tokens: from the working set in the engine. */
export function plaintextMemory(length: number): ArrayBuffer {
  return allocatePlaintext === undefined || length === 0 ? new ArrayBuffer(length) : allocatePlaintext(length);
}

/** Returns {@link plaintextMemory} as bytes. */
export function plaintextBytes(length: number): Buffer {
  return Buffer.from(plaintextMemory(length));
}

/** Copies text of a conversation into plaintext memory. */
export function copyPlaintext(source: Uint8Array): Buffer {
  const bytes = plaintextBytes(source.length);
  bytes.set(source);
  return bytes;
}

/** Returns the UTF-8 bytes of a constant (never of conversation text), unpooled. */
export function constantBytes(text: string): Buffer {
  return copyBytes(Buffer.from(text, 'utf8'));
}

/** Overwrites bytes with zeros; safe to call twice. */
export function wipeBytes(bytes: Uint8Array): void {
  bytes.fill(0);
}
