/**
 * node:http on a listening socket that we were handed, with limits, and with no copy of a body left behind.
 *
 * Promise: a connection whose two ends are not 127.0.0.1 is closed without a byte. What was read from a socket is
 *          overwritten once the HTTP parser has seen it. Whatever the parser refuses gets our own answer.
 * Limits:  header text (the token among it) becomes JavaScript strings; bodies never do.
 * Proof:   test/attacks/1-limits.test.ts, test/attacks/1-memory.test.ts
 * @module
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { SocketConstructorOpts } from 'node:net';
import { unpooledBytes, wipeBytes } from '../base/bytes.ts';
import { isLocalConnection } from '../layers/1-loopback/request-guard.ts';
import { errorBody, fixedHeaders } from './local-response.ts';
import type { Connections } from './connections.ts';
import type { Fault } from './local-response.ts';

// An import of node:http reads every name of it, and one of them loads a whole HTTP client: 40 ms for nothing.
const { createServer } = process.getBuiltinModule('node:http');

/** What one client may take of us. */
export const limits = {
  headerBytes: 16 * 1024,
  /** From the first moment of a connection, or of the next request on it, to the end of its headers. */
  headerTimeoutMs: 10_000,
  /** To the end of the body. */
  requestTimeoutMs: 60_000,
  keepAliveMs: 15_000,
  connections: 256,
  requestsPerConnection: 1000,
} as const;

/** Descriptors that a gateway needs besides its connections. */
const ownDescriptors = 40;

/** How many connections a gateway that may have so many descriptors takes at a time. */
export function connectionsFor(openFiles: number): number {
  return Math.min(limits.connections, openFiles - ownDescriptors);
}

export type Listener = {
  readonly fd: number;
  readonly unix: boolean;
  readonly backlog: number;
  readonly connections: Connections<Socket>;
};
export type Ask = (request: IncomingMessage, response: ServerResponse, unix: boolean) => void;

const faults: Readonly<Record<string, Fault>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    code: 'headers_too_large',
    message: `The headers may have at most ${limits.headerBytes} bytes.`,
  },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, code: 'request_timeout', message: 'The request took too long.' },
};
const readBytes = 64 * 1024;
const malformed: Fault = { status: 400, code: 'request_malformed', message: 'This is not a well-formed HTTP request.' };
const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

/** A whole answer for a connection that the HTTP parser has given up. */
function rawAnswer(fault: Fault): Buffer {
  const body = errorBody(fault);
  const headers = {
    ...fixedHeaders,
    'Content-Type': 'application/json',
    'Content-Length': String(body.length),
    Connection: 'close',
  };
  const head = [
    `HTTP/1.1 ${fault.status} ${reasons[fault.status] ?? 'Error'}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    '',
    '',
  ].join('\r\n');
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

type Handled = Socket & { _handle: unknown; _server: unknown; server: unknown };

/**
 * The same connection, read through a buffer of ours that is overwritten after each read. Node's own way keeps what
 * it read in a slab that all connections share. One buffer serves all: a read and its callback are one step.
 */
function takeOver(accepted: Socket, buffer: Buffer): Socket {
  const from = accepted as Handled;
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
  const socket = new Socket(options as SocketConstructorOpts) as Handled;
  // The server counts its open connections by this field.
  socket._server = from._server;
  from._server = null;
  from._handle = null;
  return socket;
}

/** When a client that said all that it has to say is asked whether it still reads, and how often after that. */
const probeMs = [250, 500, 5000] as const;

/**
 * Finds out which of two things a client did that closed its sending side: it waits for its answer, or it is gone. The
 * kernel shows both alike until something is sent: an interim answer, which a client of HTTP/1.1 passes over, comes
 * back as an error from one that is gone. Once an answer has begun, its own bytes do that.
 */
function probeHalfOpen(response: ServerResponse): void {
  let sent = 0;
  const ask = (): void => {
    if (response.headersSent || response.destroyed) return;
    // HTTP/1.0 knows no interim answers.
    if (response.req.httpVersionMinor === 1) response.writeContinue();
    sent += 1;
    timer = setTimeout(ask, probeMs[Math.min(sent, probeMs.length - 1)]);
  };
  let timer = setTimeout(ask, probeMs[0]);
  response.once('close', () => {
    clearTimeout(timer);
  });
}

/**
 * Starts serving on the socket; `listen` is called before this returns, no connection is accepted before the next tick.
 */
export function listenHttp(listener: Listener, ask: Ask): Server {
  const answering = new WeakMap<object, ServerResponse>();
  const server = createServer({
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headerTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: 500,
    insecureHTTPParser: false,
    // The guard answers a missing Host itself, with our headers.
    requireHostHeader: false,
    noDelay: true,
  });
  // Node would drop what is above this count silently, a second Host among it: the guard counts instead.
  server.maxHeadersCount = 0;
  server.maxRequestsPerSocket = limits.requestsPerConnection;
  // A client that closed its sending side may still read: it gets its answer.
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;

  const toParser = server.listeners('connection');
  server.removeAllListeners('connection');
  const readBuffer = unpooledBytes(readBytes);
  server.on('connection', (accepted: Socket) => {
    if (!listener.unix && !isLocalConnection(accepted.localAddress, accepted.remoteAddress)) {
      accepted.destroy();
      return;
    }
    const socket = takeOver(accepted, readBuffer);
    if (!listener.connections.enter(socket)) {
      socket.destroy();
      return;
    }
    for (const listen of toParser) listen.call(server, socket);
    // A second listener for data takes the reading back from the parser's native side, which has a buffer of its own.
    socket.on('data', () => undefined);
    socket.once('end', () => {
      const response = answering.get(socket);
      if (response === undefined || response.writableEnded) return;
      // Who closes in the middle of an answer wants no more of it.
      if (response.headersSent) socket.destroy();
      else probeHalfOpen(response);
    });
  });
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    if (request.socket.destroyed) return;
    const before = answering.get(request.socket);
    if (before !== undefined && !before.writableFinished) {
      // Pipelining: no client of ours does it, and queued answers would hold conversations.
      request.on('data', wipeBytes);
      request.socket.destroy();
      return;
    }
    answering.set(request.socket, response);
    ask(request, response, listener.unix);
  };
  server.on('request', onRequest);
  server.on('checkContinue', onRequest);
  server.on('checkExpectation', onRequest);
  server.on('clientError', (error: Error & { code?: string; rawPacket?: Buffer }, socket) => {
    if (error.rawPacket !== undefined) wipeBytes(error.rawPacket);
    const current = answering.get(socket);
    const begun = current !== undefined && current.headersSent && !current.writableFinished;
    if (!socket.writable || begun || error.code === 'ECONNRESET') socket.destroy();
    else socket.end(rawAnswer(faults[error.code ?? ''] ?? malformed), () => socket.destroy());
  });
  server.listen({ fd: listener.fd, backlog: listener.backlog });
  return server;
}
