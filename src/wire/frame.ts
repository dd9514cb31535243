/**
 * Frames on a stream between two of Kwyre's processes. A frame has a fixed header and a bounded payload.
 *
 * Layout (little endian): u32 payload length, u8 wire version, u8 type, u16 zero, u32 stream, payload.
 * Promise: an oversized payload, a different wire version and a non-zero reserved field are breaches. The error is
 *          thrown before any payload is read.
 * Limits:  a payload is a view that is valid only during the callback. It is either a view of the received chunk, which
 *          its owner overwrites after {@link FrameDecoder.push}, or of the decoder's own buffer, which is overwritten
 *          right after the callback.
 * Proof:   test/unit/wire/frame.test.ts
 * @module
 */
import { wipeBytes, plaintextBytes } from '../base/bytes.ts';
import { KwyreError } from '../base/errors.ts';

/** Incremented with every change to a message. Processes refuse frames with a different version. @internal */
export const wireVersion = 2;
/** @internal */
export const headerBytes = 12;
/** Maximum payload of one frame. The sender splits longer bodies. */
export const maxPayloadBytes = 64 * 1024;

export type Frame = {
  /** A number from `wire/messages.ts`. */
  readonly type: number;
  /** The request that the frame belongs to; 0 for none. */
  readonly stream: number;
  /** A view that is valid only during the callback. */
  readonly payload: Buffer;
};

/**
 * Encodes one frame into a new buffer. The caller overwrites the buffer after sending it.
 * @throws `WIRE_FRAME_LENGTH` if the payload exceeds {@link maxPayloadBytes}.
 */
export function encodeFrame(type: number, stream: number, payload: Uint8Array): Buffer {
  if (payload.length > maxPayloadBytes) throw new KwyreError('WIRE_FRAME_LENGTH', 'frame payload above the limit');
  const bytes = plaintextBytes(headerBytes + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes[4] = wireVersion;
  bytes[5] = type;
  bytes.writeUInt16LE(0, 6);
  bytes.writeUInt32LE(stream, 8);
  bytes.set(payload, headerBytes);
  return bytes;
}

/** Checks the header at `at` and returns the length of its frame in bytes, header included. */
function frameLength(bytes: Buffer, at: number): number {
  const payloadBytes = bytes.readUInt32LE(at);
  if (payloadBytes > maxPayloadBytes) throw new KwyreError('WIRE_FRAME_LENGTH', 'frame payload above the limit');
  if (bytes[at + 4] !== wireVersion) throw new KwyreError('WIRE_FRAME_VERSION', 'frame with a different wire version');
  if (bytes.readUInt16LE(at + 6) !== 0) throw new KwyreError('WIRE_FRAME_RESERVED', 'reserved frame bits are set');
  return headerBytes + payloadBytes;
}

/**
 * Splits a byte stream into frames and calls back once per frame. Not re-entrant.
 *
 * A frame within one chunk is passed on without copying. Only a frame that is split across chunks is copied.
 */
export class FrameDecoder {
  /** The first bytes of a frame that has not completely arrived. */
  readonly #partial = plaintextBytes(headerBytes + maxPayloadBytes);
  #filled = 0;
  readonly #onFrame: (frame: Frame) => void;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  /**
   * Reads a chunk. The caller overwrites `chunk` afterwards.
   * @throws `WIRE_FRAME_LENGTH`, `WIRE_FRAME_VERSION`, `WIRE_FRAME_RESERVED` for a malformed header, after which the
   * stream cannot be used
   */
  push(chunk: Buffer): void {
    let at = this.#filled === 0 ? 0 : this.#complete(chunk);
    while (chunk.length - at >= headerBytes) {
      const end = at + frameLength(chunk, at);
      if (end > chunk.length) break;
      this.#deliver(chunk, at, end);
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk, at, chunk.length);
  }

  /** Fills the partial frame and delivers it once it is complete. @returns the number of bytes used from `chunk` */
  #complete(chunk: Buffer): number {
    let at = 0;
    if (this.#filled < headerBytes) {
      at = this.#keep(chunk, 0, headerBytes - this.#filled);
      if (this.#filled < headerBytes) return at;
    }
    const length = frameLength(this.#partial, 0);
    at = this.#keep(chunk, at, at + length - this.#filled);
    if (this.#filled < length) return at;
    try {
      this.#deliver(this.#partial, 0, length);
    } finally {
      this.#filled = 0;
      wipeBytes(this.#partial.subarray(0, length));
    }
    return at;
  }

  /** Appends bytes of `chunk` to the partial frame, from `from` to at most `to`. @returns the offset after them */
  #keep(chunk: Buffer, from: number, to: number): number {
    const end = Math.min(to, chunk.length);
    this.#partial.set(chunk.subarray(from, end), this.#filled);
    this.#filled += end - from;
    return end;
  }

  #deliver(bytes: Buffer, from: number, end: number): void {
    this.#onFrame({
      type: bytes[from + 5] ?? 0,
      stream: bytes.readUInt32LE(from + 8),
      payload: bytes.subarray(from + headerBytes, end),
    });
  }

  /** Overwrites the partial frame of a broken stream. */
  [Symbol.dispose](): void {
    this.#filled = 0;
    wipeBytes(this.#partial);
  }
}
