/**
 * A connected socket that we inherited, as a byte stream whose buffers we own and overwrite.
 *
 * Promise: received bytes live in one fixed buffer that is overwritten after each callback; sent bytes are
 *          overwritten as soon as the kernel has taken them.
 * @module
 */
import { Socket } from 'node:net';
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';

export type Stream = {
  write(bytes: Buffer): void;
  /** Whether more waits to be written than the kernel takes; `onDrain` tells when that is over. */
  full(): boolean;
  /** Ends the stream after what was written. */
  end(): void;
};

/** Opens the descriptor; `onEnd` comes exactly once, whether the peer closed or the stream broke. */
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
