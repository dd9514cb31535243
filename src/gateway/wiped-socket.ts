/**
 * An accepted connection whose received bytes are overwritten after each read.
 *
 * Node reads into a slab that connections share, and leaves the bytes there. Here, one buffer serves all connections,
 * because a read and its callback happen in one step.
 *
 * Promise: received bytes are overwritten once the HTTP parser has consumed them.
 * Limits:  relies on `_handle` and `_server` of Node's `Socket`. The attack test fails if they change.
 * Proof:   test/attacks/1-memory.test.ts
 * @module
 */
import { Socket } from 'node:net';
import type { SocketConstructorOpts } from 'node:net';
import { wipeBytes } from '../base/bytes.ts';

type SocketInternals = Socket & { _handle: unknown; _server: unknown };

/**
 * Moves an accepted connection to a new socket that reads into `buffer`.
 * @param buffer - may be shared by all connections of the process
 */
export function toWipedSocket(accepted: Socket, buffer: Buffer): Socket {
  const from = accepted as SocketInternals;
  const options = {
    handle: from._handle,
    allowHalfOpen: true,
    onread: {
      buffer,
      callback(length: number) {
        const chunk = buffer.subarray(0, length);
        try {
          socket.emit('data', chunk);
        } finally {
          wipeBytes(chunk);
        }
        return true;
      },
    },
  };
  const socket = new Socket(options as SocketConstructorOpts) as SocketInternals;
  // The server counts its open connections by this field.
  socket._server = from._server;
  from._server = null;
  from._handle = null;
  return socket;
}
