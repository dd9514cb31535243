/**
 * Bytes that hold conversation text: allocated apart from Node's shared pool and overwritten after use.
 *
 * Limits: overwriting reaches this buffer only, not copies that a caller made.
 * @module
 */

/** A zero-filled buffer with memory of its own, outside the shared pool of `Buffer.from` and `allocUnsafe`. */
export function ownBytes(length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  bytes.fill(0);
  return bytes;
}

/** A copy of `source` in memory of its own. */
export function copyBytes(source: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafeSlow(source.length);
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
