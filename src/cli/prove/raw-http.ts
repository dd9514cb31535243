/**
 * Performs one HTTP exchange in raw bytes without a client library, as an attacker's program would.
 *
 * Proof: test/e2e/prove.test.ts
 * @module
 */
import { connect } from 'node:net';

/** `status` is 0 if there was no response. `failed` is the reason, unless the server just closed the connection. */
export type Exchange = { readonly status: number; readonly head: string; readonly failed: string | undefined };

const timeoutMs = 5000;
const maxBytes = 64 * 1024;

/** Sends `text` to an address and reads until the head of the response is complete. */
export function exchange(host: string, port: number, text: string): Promise<Exchange> {
  return new Promise((resolve) => {
    let received = '';
    const socket = connect({ host, port });
    const finish = (failed?: string): void => {
      socket.destroy();
      const head = received.split('\r\n\r\n', 1)[0] ?? '';
      resolve({ status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0), head, failed });
    };
    socket.setTimeout(timeoutMs, () => {
      finish('no answer in time');
    });
    socket.on('connect', () => {
      socket.write(text, 'latin1');
    });
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      if (received.includes('\r\n\r\n') || received.length > maxBytes) finish();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      finish(
        received === '' && error.code !== 'ECONNRESET' && error.code !== 'EPIPE' ? (error.code ?? 'error') : undefined,
      );
    });
    socket.on('end', () => {
      finish();
    });
  });
}

/**
 * Begins a chat completion request that is never completed, so that the server buffers `body`.
 * @returns a function that closes the connection
 */
export async function beginRequest(
  { port, token }: { readonly port: number; readonly token: string },
  body: Buffer,
): Promise<() => void> {
  const socket = connect({ host: '127.0.0.1', port });
  const head = [
    'POST /v1/chat/completions HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    `Authorization: Bearer ${token}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length + 100}`,
    '',
    '',
  ].join('\r\n');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.write(Buffer.concat([Buffer.from(head), body]), () => {
      resolve();
    });
  });
  socket.on('error', () => undefined);
  return () => {
    socket.destroy();
  };
}
