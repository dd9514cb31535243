/**
 * Frames on a stream between two of our processes: a fixed header, a payload with a hard ceiling.
 *
 * Layout (little endian): u32 payload length, u8 wire version, u8 type, u16 zero, u32 stream; then the payload.
 * Promise: a length above the ceiling, another version or a non-zero reserved field is a breach, thrown at once.
 * Limits:  the decoder hands out views into its own buffer: they are valid only during the callback, and the
 *          bytes are overwritten right after it.
 * Proof:   test/unit/wire/frame.test.ts
 * @module
 */
import { wipeBytes, plaintextBytes } from '../base/bytes.ts';
import { KwyreError } from '../base/errors.ts';

/** Raised with every change of a message; processes of two versions never talk. */
export const wireVersion = 2;
export const headerBytes = 12;
/** The most payload that one frame carries; longer bodies are split by the sender. */
export const maxPayloadBytes = 64 * 1024;

export type Frame = {
  /** A number from `wire/messages.ts`. */
  readonly type: number;
  /** The request that the frame belongs to; 0 for none. */
  readonly stream: number;
  /** A view, valid only during the callback. */
  readonly payload: Buffer;
};

/**
 * Encodes one frame into a buffer of its own; the sender overwrites it once it is written.
 * @throws `WIRE_FRAME_LENGTH` when the payload is above the ceiling.
 */
export function encodeFrame(type: number, stream: number, payload: Uint8Array): Buffer {
  if (payload.length > maxPayloadBytes) throw new KwyreError('WIRE_FRAME_LENGTH', 'frame payload above the ceiling');
  const bytes = plaintextBytes(headerBytes + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes[4] = wireVersion;
  bytes[5] = type;
  bytes.writeUInt16LE(0, 6);
  bytes.writeUInt32LE(stream, 8);
  bytes.set(payload, headerBytes);
  return bytes;
}

/** Collects stream bytes and calls back once for each whole frame. Not re-entrant. */
export class FrameDecoder {
  readonly #buffer = plaintextBytes(headerBytes + maxPayloadBytes);
  #filled = 0;
  readonly #onFrame: (frame: Frame) => void;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  /**
   * Takes bytes as they came; copies what it needs, so the caller may overwrite `chunk` afterwards.
   * @throws `WIRE_FRAME_LENGTH`, `WIRE_FRAME_VERSION` on a malformed header; the stream is then unusable.
   */
  push(chunk: Uint8Array): void {
    let offset = 0;
    while (offset < chunk.length) {
      const want = this.#filled < headerBytes ? headerBytes : headerBytes + this.#buffer.readUInt32LE(0);
      const take = Math.min(want - this.#filled, chunk.length - offset);
      this.#buffer.set(chunk.subarray(offset, offset + take), this.#filled);
      this.#filled += take;
      offset += take;
      if (this.#filled === headerBytes) this.#checkHeader();
      if (this.#filled >= headerBytes && this.#filled === headerBytes + this.#buffer.readUInt32LE(0)) this.#deliver();
    }
  }

  #checkHeader(): void {
    if (this.#buffer.readUInt32LE(0) > maxPayloadBytes)
      throw new KwyreError('WIRE_FRAME_LENGTH', 'frame payload above the ceiling');
    if (this.#buffer[4] !== wireVersion) throw new KwyreError('WIRE_FRAME_VERSION', 'frame of another wire version');
    if (this.#buffer.readUInt16LE(6) !== 0) throw new KwyreError('WIRE_FRAME_RESERVED', 'reserved frame bits are set');
  }

  #deliver(): void {
    const type = this.#buffer[5] ?? 0;
    const stream = this.#buffer.readUInt32LE(8);
    const end = this.#filled;
    try {
      this.#onFrame({ type, stream, payload: this.#buffer.subarray(headerBytes, end) });
    } finally {
      this.#filled = 0;
      wipeBytes(this.#buffer.subarray(0, end));
    }
  }

  /** Overwrites what a broken stream left behind. */
  [Symbol.dispose](): void {
    this.#filled = 0;
    wipeBytes(this.#buffer);
  }
}
