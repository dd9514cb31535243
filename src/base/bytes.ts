/**
 * Buffers that can be overwritten after use. They are outside Node's shared pool, and those for plaintext are in the
 * working set.
 *
 * Limits: overwriting a buffer does not overwrite its copies.
 * Proof:  test/unit/base/bytes.test.ts
 * @module
 */

/**
 * Returns a zero-filled buffer that is not part of the shared pool used by `Buffer.from` and `allocUnsafe`.
 *
 * It is created over an explicit `ArrayBuffer`. Otherwise V8 keeps typed arrays of up to 64 bytes in its heap and
 * copies them out once native code takes their address, which leaves the first copy behind.
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

/** Sets the allocator of {@link plaintextMemory}. The engine calls this once, before it reads any plaintext. */
export function usePlaintextMemory(allocate: (length: number) => ArrayBuffer): void {
  allocatePlaintext = allocate;
}

/** Returns zero-filled memory for a conversation's text or tokens. In the engine it comes from the working set. */
export function plaintextMemory(length: number): ArrayBuffer {
  return allocatePlaintext === undefined || length === 0 ? new ArrayBuffer(length) : allocatePlaintext(length);
}

/** Returns {@link plaintextMemory} as bytes. */
export function plaintextBytes(length: number): Buffer {
  return Buffer.from(plaintextMemory(length));
}

/** Copies conversation text into plaintext memory. */
export function copyPlaintext(source: Uint8Array): Buffer {
  const bytes = plaintextBytes(source.length);
  bytes.set(source);
  return bytes;
}

/** Returns the UTF-8 bytes of a constant in an unpooled buffer. Never call it with conversation text. */
export function constantBytes(text: string): Buffer {
  return copyBytes(Buffer.from(text, 'utf8'));
}

/** Overwrites bytes with zeros; safe to call twice. */
export function wipeBytes(bytes: Uint8Array): void {
  bytes.fill(0);
}
