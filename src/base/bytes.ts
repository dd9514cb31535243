/**
 * Bytes that hold conversation text: allocated apart from Node's shared pool and overwritten after use.
 *
 * Limits: overwriting reaches this buffer only, not copies that a caller made.
 * @module
 */

/**
 * A zero-filled buffer with memory of its own, outside the shared pool of `Buffer.from` and `allocUnsafe`.
 *
 * Made over an `ArrayBuffer` on purpose: V8 keeps typed arrays of up to 64 bytes inside its own heap, and copies them
 * out (leaving the first copy behind) as soon as native code takes their address; measured in a gateway.
 */
export function unpooledBytes(length: number): Buffer {
  return Buffer.from(new ArrayBuffer(length));
}

/** A copy of `source` in memory of its own. */
export function copyBytes(source: Uint8Array): Buffer {
  const bytes = unpooledBytes(source.length);
  bytes.set(source);
  return bytes;
}

let allocatePlaintext: ((length: number) => ArrayBuffer) | undefined;

/**
 * Words of conversations stand in this memory from now on; the engine says so once, before it reads the first of them.
 */
export function usePlaintextMemory(take: (length: number) => ArrayBuffer): void {
  allocatePlaintext = take;
}

/** Zero-filled memory for words of a conversation or their tokens: in the engine the working set, elsewhere private. */
export function plaintextMemory(length: number): ArrayBuffer {
  return allocatePlaintext === undefined || length === 0 ? new ArrayBuffer(length) : allocatePlaintext(length);
}

/** {@link plaintextMemory} as bytes. */
export function plaintextBytes(length: number): Buffer {
  return Buffer.from(plaintextMemory(length));
}

/** A copy of words. */
export function copyPlaintext(source: Uint8Array): Buffer {
  const bytes = plaintextBytes(source.length);
  bytes.set(source);
  return bytes;
}

/** The UTF-8 bytes of a constant (never of conversation text) in memory of its own. */
export function constantBytes(text: string): Buffer {
  return copyBytes(Buffer.from(text, 'utf8'));
}

/** Overwrites bytes with zeros; safe to call twice. */
export function wipeBytes(bytes: Uint8Array): void {
  bytes.fill(0);
}
