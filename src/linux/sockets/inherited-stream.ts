/**
 * Wraps an inherited connected socket in a byte stream that overwrites its buffers.
 *
 * Promise: received bytes are kept in one fixed buffer that is overwritten after each callback; sent bytes are
 *          overwritten as soon as the kernel has accepted them.
 * @module
 */
import { Socket } from 'node:net';
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';

/** A byte stream; `write` takes ownership of the bytes and overwrites them. */
export type Stream = {
  write(bytes: Buffer): void;
  /** Whether writes are queued because the kernel's buffer is full; `onDrain` is called once they are not. */
  full(): boolean;
  /** Closes the stream after the queued writes. */
  end(): void;
};

/** Opens the descriptor; `onEnd` is called exactly once, when the peer closes or the stream fails. */
export function openStream(
  fd: number,
  onBytes: (chunk: Buffer) => void,
  onEnd: () => void,
  onDrain?: () => void,
): Stream {
  const buffer = plaintextBytes(128 * 1024);
  const socket = new Socket({
    fd,
    readable: true,
    writable: true,
    onread: {
      buffer,
      callback(length) {
        const chunk = buffer.subarray(0, length);
        try {
          onBytes(chunk);
        } finally {
          wipeBytes(chunk);
        }
        return true;
      },
    },
  });
  socket.on('error', () => {
    socket.destroy();
  });
  socket.on('end', () => {
    socket.destroy();
  });
  socket.once('close', onEnd);
  if (onDrain !== undefined) socket.on('drain', onDrain);
  socket.resume();
  return {
    write(bytes) {
      if (socket.destroyed) {
        wipeBytes(bytes);
        return;
      }
      socket.write(bytes, () => {
        wipeBytes(bytes);
      });
    },
    full: () => socket.writableNeedDrain,
    end() {
      socket.end();
    },
  };
}
