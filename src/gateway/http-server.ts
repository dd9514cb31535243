/**
 * An HTTP server on an inherited listening socket. It enforces limits and leaves no copies of bodies in memory.
 *
 * Promise: a TCP connection is closed without sending a byte unless both of its ends are 127.0.0.1. Received bytes are
 *          overwritten once the HTTP parser has consumed them. A request that the parser rejects gets an error response
 *          with the gateway's fixed headers.
 * Limits:  headers, including the token, become JavaScript strings. Bodies never do.
 * Proof:   test/attacks/1-limits.test.ts, test/attacks/1-memory.test.ts
 * @module
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { unpooledBytes, wipeBytes } from '../base/bytes.ts';
import { isLocalConnection } from '../layers/1-loopback/request-guard.ts';
import type { Connections } from './connections.ts';
import type { Fault } from './faults.ts';
import { faults, maxHeaderBytes } from './faults.ts';
import { errorBody, fixedHeaders } from './local-response.ts';
import { toWipedSocket } from './wiped-socket.ts';

// Importing node:http evaluates a getter that loads an HTTP client, which takes 40 ms.
const { createServer } = process.getBuiltinModule('node:http');

/** Limits on clients. @internal */
export const limits = {
  headerBytes: maxHeaderBytes,
  /** Time limit for receiving all headers, from the opening of the connection or the end of its previous request. */
  headerTimeoutMs: 10_000,
  /** Time limit for receiving the whole request, including its body. */
  requestTimeoutMs: 60_000,
  keepAliveMs: 15_000,
  connections: 256,
  requestsPerConnection: 1000,
} as const;

/** Number of file descriptors that a gateway needs in addition to those of its connections. */
const reservedDescriptors = 40;

/** Returns the connection limit for a process that may open `openFiles` descriptors. */
export function maxConnections(openFiles: number): number {
  return Math.min(limits.connections, openFiles - reservedDescriptors);
}

type HttpListener = {
  readonly fd: number;
  readonly unix: boolean;
  readonly backlog: number;
  readonly connections: Connections<Socket>;
};
type RequestListener = (request: IncomingMessage, response: ServerResponse, unix: boolean) => void;

/** Connections with a request in progress, each with its latest response. */
type Responses = WeakMap<object, ServerResponse>;

const readBytes = 64 * 1024;

/** Starts serving on the socket. No connection is accepted before the event loop's next tick. */
export function listenHttp(listener: HttpListener, onRequest: RequestListener): Server {
  const responses: Responses = new WeakMap();
  const server = createServer({
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headerTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: 500,
    insecureHTTPParser: false,
    // The guard responds to a missing Host itself, so that the response has the fixed headers.
    requireHostHeader: false,
    noDelay: true,
  });
  // Node would silently drop headers above this count, such as a second Host. The guard counts them.
  server.maxHeadersCount = 0;
  server.maxRequestsPerSocket = limits.requestsPerConnection;
  // A client that has closed its sending side may still read its response.
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  acceptConnections(server, listener, responses);
  acceptRequests(server, listener, responses, onRequest);
  answerParserErrors(server, responses);
  server.listen({ fd: listener.fd, backlog: listener.backlog });
  return server;
}

/** Checks each connection and passes it to the HTTP parser as a socket that overwrites the bytes it has read. */
function acceptConnections(server: Server, listener: HttpListener, responses: Responses): void {
  const parsers = server.listeners('connection');
  server.removeAllListeners('connection');
  const readBuffer = unpooledBytes(readBytes);
  server.on('connection', (accepted: Socket) => {
    if (!listener.unix && !isLocalConnection(accepted.localAddress, accepted.remoteAddress)) {
      accepted.destroy();
      return;
    }
    const socket = toWipedSocket(accepted, readBuffer);
    if (!listener.connections.add(socket)) {
      socket.destroy();
      return;
    }
    for (const parser of parsers) parser.call(server, socket);
    // With a second data listener, Node does not let its native parser read into a separate buffer.
    socket.on('data', () => undefined);
    socket.once('end', () => {
      const response = responses.get(socket);
      if (response === undefined || response.writableEnded) return;
      // A client that closes its side in the middle of a response has abandoned it.
      if (response.headersSent) socket.destroy();
      else probeHalfOpen(response);
    });
  });
}

/** Passes requests to the handler, one at a time per connection. */
function acceptRequests(
  server: Server,
  listener: HttpListener,
  responses: Responses,
  onRequest: RequestListener,
): void {
  const accept = (request: IncomingMessage, response: ServerResponse) => {
    if (request.socket.destroyed) return;
    const previous = responses.get(request.socket);
    if (previous !== undefined && !previous.writableFinished) {
      // Pipelining is refused: queued requests would hold conversations in memory.
      request.on('data', wipeBytes);
      request.socket.destroy();
      return;
    }
    responses.set(request.socket, response);
    onRequest(request, response, listener.unix);
  };
  for (const event of ['request', 'checkContinue', 'checkExpectation']) server.on(event, accept);
}

/** Sends an error response to input that the HTTP parser rejects, and overwrites the input. */
function answerParserErrors(server: Server, responses: Responses): void {
  const faultsByCode: Readonly<Record<string, Fault>> = {
    HPE_HEADER_OVERFLOW: faults.headersTooLarge,
    ERR_HTTP_REQUEST_TIMEOUT: faults.requestTimeout,
  };
  server.on('clientError', (error: Error & { code?: string; rawPacket?: Buffer }, socket) => {
    if (error.rawPacket !== undefined) wipeBytes(error.rawPacket);
    const response = responses.get(socket);
    const isResponding = response !== undefined && response.headersSent && !response.writableFinished;
    if (!socket.writable || isResponding || error.code === 'ECONNRESET') socket.destroy();
    else socket.end(rawResponse(faultsByCode[error.code ?? ''] ?? faults.malformed), () => socket.destroy());
  });
}

const reasonPhrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

/** Returns a complete response as bytes, for a connection that the HTTP parser no longer handles. */
function rawResponse(fault: Fault): Buffer {
  const body = errorBody(fault);
  const headers = {
    ...fixedHeaders,
    'Content-Type': 'application/json',
    'Content-Length': String(body.length),
    Connection: 'close',
  };
  const head = [
    `HTTP/1.1 ${fault.status} ${reasonPhrases[fault.status] ?? 'Error'}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    '',
    '',
  ].join('\r\n');
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

/** Delays before each probe of a client that closed its sending side; the last delay repeats. */
const probeMs = [250, 500, 5000] as const;

/**
 * Probes whether a client that closed its sending side is still waiting for its response or has disconnected. The
 * kernel cannot tell until bytes are sent. HTTP/1.1 clients skip interim responses (100 Continue), and a closed
 * connection responds with a reset. Once the response has begun, its own bytes serve as the probe.
 */
function probeHalfOpen(response: ServerResponse): void {
  let sent = 0;
  const probe = (): void => {
    if (response.headersSent || response.destroyed) return;
    // HTTP/1.0 has no interim responses.
    if (response.req.httpVersionMinor === 1) response.writeContinue();
    sent += 1;
    timer = setTimeout(probe, probeMs[Math.min(sent, probeMs.length - 1)]);
  };
  let timer = setTimeout(probe, probeMs[0]);
  response.once('close', () => {
    clearTimeout(timer);
  });
}
