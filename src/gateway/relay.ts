/**
 * Requests to the engine and its answers back, as frames on the data edge; the bytes mean nothing here.
 *
 * Promise: a body is never text, never parsed and never kept: each piece is overwritten once it went on. An engine
 *          that speaks out of turn is a breach. When the edge closes, every client gets a clear end.
 * Proof:   test/unit/gateway/relay.test.ts, test/attacks/1-memory.test.ts
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { copyBytes, wipeBytes } from '../base/bytes.ts';
import { KwyreError, bug } from '../base/errors.ts';
import type { DispatchTable } from '../wire/channel.ts';
import type { Frame } from '../wire/frame.ts';
import { maxPayloadBytes } from '../wire/frame.ts';
import type { RequestOpen } from '../wire/data-payloads.ts';
import {
  encodeCredit,
  encodeRequestOpen,
  initialCreditBytes,
  mediaTypes,
  parseResponseHead,
} from '../wire/data-payloads.ts';
import { dataMessages } from '../wire/messages.ts';
import type { Fault } from './local-response.ts';
import { errorBody, fixedHeaders, lingerLimits, sendFault } from './local-response.ts';
import type { Holder } from './request-quota.ts';
import { Shares } from './request-quota.ts';

/** The gateway's end of the data edge. */
export type DataEdge = { send(type: number, payload: Uint8Array | undefined, stream: number): void; full(): boolean };

/**
 * Requests at the engine at a time and the sum of their declared bodies, what is kept for the person beyond that, and
 * how long a client may take nothing of its answer.
 */
export const relayLimits = {
  requests: 128,
  bodyBytes: 128 << 20,
  personRequests: 16,
  personBytes: 32 << 20,
  stallMs: 60_000,
} as const;

/**
 * Credit is given back in pieces of this size: one for each token would wake the engine in the middle of its next step.
 */
const creditStep = initialCreditBytes / 4;

const contentTypes = {
  [mediaTypes.json]: 'application/json',
  [mediaTypes.eventStream]: 'text/event-stream; charset=utf-8',
} as const;

/** Why a request ends without the engine's own answer. */
export const faults = {
  busy: { status: 503, code: 'server_busy', message: 'Too many requests are open. Try again.', retryAfterSeconds: 1 },
  engineLost: {
    status: 503,
    code: 'engine_restarting',
    message: 'The engine ended while it worked on this request; it is being started again.',
    retryAfterSeconds: 2,
  },
  engineGaveUp: { status: 500, code: 'engine_error', message: 'The engine could not finish this request.' },
  paused: {
    status: 503,
    code: 'machine_paused',
    message:
      'The machine stood still while this request was worked on, and its answer was cut for that. Send it again.',
    retryAfterSeconds: 5,
  },
  revoked: {
    status: 401,
    code: 'invalid_api_key',
    message: 'This token has been revoked. ./kwyre token add NAME makes another one.',
  },
  stopping: { status: 503, code: 'server_stopping', message: 'The server is stopping.' },
} as const satisfies Record<string, Fault>;

/** One request from its first frame to the end of its answer. */
type Exchange = {
  readonly id: number;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly holder: Holder;
  /** Declared bytes of its body. */
  readonly bytes: number;
  readonly yields: () => 0 | 1 | undefined;
  /** Response bytes that are with the kernel or on their way to it. */
  readonly live: Set<Buffer>;
  stream: boolean;
  unacked: number;
  /** Bytes that the client has taken and the engine was not told of yet. */
  owed: number;
  movedAt: number;
};

export class Relay {
  readonly #edge: DataEdge;
  readonly #now: () => number;
  readonly #open = new Map<number, Exchange>();
  readonly #paused = new Set<IncomingMessage>();
  readonly #shares = new Shares<Exchange>(relayLimits);
  #lastId = 0;
  #fault: Fault | undefined;

  constructor(edge: DataEdge, now: () => number) {
    this.#edge = edge;
    this.#now = now;
  }

  /** What the engine may say. */
  readonly table: DispatchTable = {
    [dataMessages.responseHead]: {
      permit: 'always',
      handle: (frame) => {
        this.#head(frame);
      },
    },
    [dataMessages.responseBody]: {
      permit: 'always',
      handle: (frame) => {
        this.#body(frame);
      },
    },
    [dataMessages.responseEnd]: {
      permit: 'always',
      handle: (frame) => {
        this.#end(frame);
      },
    },
    [dataMessages.responseAbort]: {
      permit: 'always',
      handle: (frame) => {
        this.#giveUp(frame);
      },
    },
  };

  /**
   * Opens a request at the engine and passes its body on as it comes.
   * @param kept - it has a place of its own already, and is not counted here.
   */
  forward(request: IncomingMessage, response: ServerResponse, open: RequestOpen, kept: boolean): void {
    const holder = { principal: open.principal.toString('hex'), person: open.operator };
    const room = kept ? [] : this.#shares.room(holder, open.bodyLength);
    const fault = this.#fault ?? (room === undefined ? faults.busy : undefined);
    if (fault !== undefined) {
      sendFault(request, response, fault, this.#fault !== undefined);
      return;
    }
    for (const other of room ?? []) this.#cut(other, faults.busy);
    if (this.#lastId === 0xffffffff) bug('four billion requests in one life of a gateway');
    this.#lastId += 1;
    const exchange: Exchange = {
      id: this.#lastId,
      request,
      response,
      holder,
      bytes: open.bodyLength,
      yields: () => (response.headersSent ? undefined : request.complete ? 1 : 0),
      live: new Set(),
      stream: false,
      unacked: 0,
      owed: 0,
      movedAt: this.#now(),
    };
    this.#open.set(exchange.id, exchange);
    if (!kept) this.#shares.enter(exchange);
    this.#edge.send(dataMessages.requestOpen, encodeRequestOpen(open), exchange.id);
    request.on('data', (chunk: Buffer) => {
      this.#send(exchange, chunk);
    });
    request.once('end', () => {
      if (this.#open.has(exchange.id)) this.#edge.send(dataMessages.requestEnd, undefined, exchange.id);
    });
    response.once('close', () => {
      this.#close(exchange);
    });
  }

  #send(exchange: Exchange, chunk: Buffer): void {
    try {
      if (!this.#open.has(exchange.id)) return;
      for (let at = 0; at < chunk.length; at += maxPayloadBytes) {
        this.#edge.send(dataMessages.requestBody, chunk.subarray(at, at + maxPayloadBytes), exchange.id);
      }
      if (!this.#edge.full()) return;
      exchange.request.pause();
      this.#paused.add(exchange.request);
    } finally {
      wipeBytes(chunk);
    }
  }

  /** The edge takes bytes again. */
  edgeDrained(): void {
    for (const request of this.#paused) request.resume();
    this.#paused.clear();
  }

  /** The exchange of a frame; `undefined` when it is over. @throws `WIRE_STREAM_UNKNOWN` for one that never was */
  #find(frame: Frame): Exchange | undefined {
    if (frame.stream === 0 || frame.stream > this.#lastId)
      throw new KwyreError('WIRE_STREAM_UNKNOWN', 'an answer to no request');
    return this.#open.get(frame.stream);
  }

  #head(frame: Frame): void {
    const head = parseResponseHead(frame.payload);
    const exchange = this.#find(frame);
    if (exchange === undefined) return;
    if (exchange.response.headersSent) throw new KwyreError('WIRE_MESSAGE_REPEATED', 'a second response.head');
    exchange.stream = head.media === mediaTypes.eventStream;
    exchange.response.writeHead(head.status, {
      ...fixedHeaders,
      'Content-Type': contentTypes[head.media],
      ...(head.session === undefined ? {} : { 'Kwyre-Session': `conv_${head.session}` }),
      ...(head.retryAfterSeconds > 0 ? { 'Retry-After': String(head.retryAfterSeconds) } : {}),
    });
    exchange.response.flushHeaders();
  }

  #body(frame: Frame): void {
    const exchange = this.#find(frame);
    if (exchange === undefined) return;
    const { response } = exchange;
    if (!response.headersSent) throw new KwyreError('WIRE_MESSAGE_ORDER', 'response.body before response.head');
    if (frame.payload.length === 0) return;
    if (exchange.unacked === 0) exchange.movedAt = this.#now();
    exchange.unacked += frame.payload.length;
    if (exchange.unacked > initialCreditBytes + maxPayloadBytes)
      throw new KwyreError('WIRE_CREDIT_EXCEEDED', 'more response bytes than there was credit for');
    const bytes = copyBytes(frame.payload);
    const length = bytes.length;
    exchange.live.add(bytes);
    response.write(bytes, (error) => {
      wipeBytes(bytes);
      exchange.live.delete(bytes);
      exchange.unacked -= length;
      exchange.movedAt = this.#now();
      exchange.owed += length;
      if (error || exchange.owed < creditStep || !this.#open.has(exchange.id)) return;
      this.#edge.send(dataMessages.responseCredit, encodeCredit(exchange.owed), exchange.id);
      exchange.owed = 0;
    });
  }

  #end(frame: Frame): void {
    const exchange = this.#find(frame);
    if (exchange === undefined) return;
    if (!exchange.response.headersSent) throw new KwyreError('WIRE_MESSAGE_ORDER', 'response.end before response.head');
    this.#forget(exchange);
    exchange.response.end();
  }

  #giveUp(frame: Frame): void {
    const exchange = this.#find(frame);
    if (exchange === undefined) return;
    this.#forget(exchange);
    this.#fail(exchange, faults.engineGaveUp);
  }

  /** Ends a client's answer that the engine will not: as an error if nothing was sent yet, else visibly cut short. */
  #fail(exchange: Exchange, fault: Fault): void {
    const { request, response } = exchange;
    if (!response.headersSent) sendFault(request, response, fault, true);
    else if (exchange.stream) {
      response.end(Buffer.concat([Buffer.from('data: '), errorBody(fault), Buffer.from('\n\n')]), () => {
        request.socket.end();
      });
    } else response.destroy();
  }

  /** The client's connection or the answer is over. */
  #close(exchange: Exchange): void {
    if (this.#open.has(exchange.id)) {
      this.#forget(exchange);
      if (this.#fault === undefined) this.#edge.send(dataMessages.requestAbort, undefined, exchange.id);
    }
    this.#paused.delete(exchange.request);
    // What is left of a body that nobody waits for is read and overwritten.
    exchange.request.resume();
    for (const bytes of exchange.live) wipeBytes(bytes);
    exchange.live.clear();
    for (
      let chunk = exchange.request.read() as Buffer | null;
      chunk !== null;
      chunk = exchange.request.read() as Buffer | null
    )
      wipeBytes(chunk);
  }

  #forget(exchange: Exchange): void {
    this.#open.delete(exchange.id);
    this.#shares.leave(exchange);
  }

  /** Ends one request from here: the client is told, the engine lets it go. */
  #cut(exchange: Exchange, fault: Fault): void {
    this.#forget(exchange);
    this.#edge.send(dataMessages.requestAbort, undefined, exchange.id);
    this.#fail(exchange, fault);
    // One that reads nothing is not waited for.
    const timer = setTimeout(() => {
      exchange.request.socket.destroy();
    }, 2 * lingerLimits.ms);
    exchange.response.once('close', () => {
      clearTimeout(timer);
    });
  }

  /** Ends every request of a holder whose token is void; returns the connections on which they are told. */
  revoke(principal: string): Set<Socket> {
    const theirs = [...this.#open.values()].filter((exchange) => exchange.holder.principal === principal);
    if (this.#fault === undefined) for (const exchange of theirs) this.#cut(exchange, faults.revoked);
    return new Set(theirs.map(({ request }) => request.socket));
  }

  /** Cuts off clients that take nothing of their answers; called now and then. */
  dropStalled(): void {
    for (const exchange of this.#open.values()) {
      if (exchange.unacked > 0 && this.#now() - exchange.movedAt > relayLimits.stallMs) exchange.response.destroy();
    }
  }

  /** Cuts every request that is open: its client gets a clear end, and the engine is told that nobody waits for it. */
  cut(fault: Fault): void {
    for (const exchange of [...this.#open.values()]) {
      this.#forget(exchange);
      this.#edge.send(dataMessages.requestAbort, undefined, exchange.id);
      this.#fail(exchange, fault);
    }
  }

  /** No engine any more: every client gets a clear end. Settles once all are through. */
  async shut(fault: Fault): Promise<void> {
    this.#fault ??= fault;
    const ends = [...this.#open.values()].map(
      (exchange) =>
        new Promise<undefined>((resolve) => {
          exchange.response.once('close', () => {
            resolve(undefined);
          });
          this.#forget(exchange);
          this.#fail(exchange, fault);
        }),
    );
    await Promise.all(ends);
  }
}
