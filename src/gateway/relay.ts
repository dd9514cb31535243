/**
 * Relays requests to the engine and its responses to the clients, as frames on the data edge. Bodies are opaque here.
 *
 * Promise: a body never becomes text, and is never parsed or kept. Each chunk is overwritten after it is forwarded.
 *          A protocol violation by the engine is a breach. When the edge closes, every client gets an explicit error.
 * Proof:   test/unit/gateway/relay.test.ts, test/attacks/1-memory.test.ts
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { wipeBytes } from '../base/bytes.ts';
import { KwyreError, bug } from '../base/errors.ts';
import type { DispatchTable } from '../wire/channel.ts';
import type { RequestOpen } from '../wire/data-payloads.ts';
import { encodeCredit, encodeRequestOpen } from '../wire/data-payloads.ts';
import type { Frame } from '../wire/frame.ts';
import { maxPayloadBytes } from '../wire/frame.ts';
import { dataMessages } from '../wire/messages.ts';
import { RelayedRequest } from './relayed-request.ts';
import type { Fault } from './faults.ts';
import { faults } from './faults.ts';
import { sendFault } from './local-response.ts';
import { RequestQuota } from './request-quota.ts';

/** The gateway's end of the data edge. */
type DataEdge = {
  send(type: number, payload: Uint8Array | undefined, stream: number): void;
  /** Returns whether bytes are queued that the kernel does not accept yet. */
  isFull(): boolean;
};

/**
 * Limits on the number of requests that are open at the engine and on their declared bytes, the additional capacity for
 * the operator, and the time for which a client may stop reading its response.
 * @internal
 */
export const relayLimits = {
  requests: 128,
  bodyBytes: 128 << 20,
  operatorRequests: 16,
  operatorBytes: 32 << 20,
  stallMs: 60_000,
} as const;

export class Relay {
  readonly #edge: DataEdge;
  readonly #now: () => number;
  readonly #open = new Map<number, RelayedRequest>();
  readonly #paused = new Set<IncomingMessage>();
  readonly #quota = new RequestQuota<RelayedRequest>(relayLimits);
  #lastId = 0;
  /** The reason why requests are no longer forwarded; `undefined` while they still are. */
  #closedBy: Fault | undefined;

  constructor(edge: DataEdge, now: () => number) {
    this.#edge = edge;
    this.#now = now;
  }

  /** The messages that the engine may send. */
  readonly table: DispatchTable = {
    [dataMessages.responseHead]: {
      permit: 'always',
      handle: (frame) => {
        this.#find(frame)?.writeHead(frame.payload);
      },
    },
    [dataMessages.responseBody]: {
      permit: 'always',
      handle: (frame) => {
        this.#find(frame)?.writeBody(frame.payload);
      },
    },
    [dataMessages.responseEnd]: {
      permit: 'always',
      handle: (frame) => {
        const relayed = this.#find(frame);
        if (relayed === undefined) return;
        this.#remove(relayed);
        relayed.end();
      },
    },
    [dataMessages.responseAbort]: {
      permit: 'always',
      handle: (frame) => {
        const relayed = this.#find(frame);
        if (relayed === undefined) return;
        this.#remove(relayed);
        relayed.fail(faults.engineFailed);
      },
    },
  };

  /**
   * Opens a request on the data edge and forwards its body as it arrives.
   * @param reserved - whether the request has a reserved slot and so does not count against the quota
   */
  forward(request: IncomingMessage, response: ServerResponse, open: RequestOpen, reserved: boolean): void {
    const holder = { principal: open.principal.toString('hex'), isOperator: open.operator };
    const evictions = reserved ? [] : this.#quota.evictionsFor(holder, open.bodyLength);
    if (this.#closedBy !== undefined || evictions === undefined) {
      sendFault(request, response, this.#closedBy ?? faults.busy, this.#closedBy !== undefined);
      return;
    }
    for (const other of evictions) this.#evict(other, faults.busy);
    if (this.#lastId === 0xffffffff) bug('four billion requests in one gateway process');
    this.#lastId += 1;
    const id = this.#lastId;
    const onCredit = (bytes: number): void => {
      if (this.#open.has(id)) this.#edge.send(dataMessages.responseCredit, encodeCredit(bytes), id);
    };
    const relayed = new RelayedRequest({
      id,
      request,
      response,
      holder,
      bytes: open.bodyLength,
      onCredit,
      now: this.#now,
    });
    this.#open.set(id, relayed);
    if (!reserved) this.#quota.add(relayed);
    this.#edge.send(dataMessages.requestOpen, encodeRequestOpen(open), id);
    request.on('data', (chunk: Buffer) => {
      this.#forwardChunk(relayed, chunk);
    });
    request.once('end', () => {
      if (this.#open.has(id)) this.#edge.send(dataMessages.requestEnd, undefined, id);
    });
    response.once('close', () => {
      this.#close(relayed);
    });
  }

  #forwardChunk({ id, request }: RelayedRequest, chunk: Buffer): void {
    try {
      if (!this.#open.has(id)) return;
      for (let at = 0; at < chunk.length; at += maxPayloadBytes) {
        this.#edge.send(dataMessages.requestBody, chunk.subarray(at, at + maxPayloadBytes), id);
      }
      if (!this.#edge.isFull()) return;
      request.pause();
      this.#paused.add(request);
    } finally {
      wipeBytes(chunk);
    }
  }

  /** Resumes paused bodies when the edge accepts bytes again. */
  onEdgeDrained(): void {
    for (const request of this.#paused) request.resume();
    this.#paused.clear();
  }

  /** Returns a frame's request, or `undefined` if it has ended. @throws `WIRE_STREAM_UNKNOWN` if it never existed */
  #find(frame: Frame): RelayedRequest | undefined {
    if (frame.stream === 0 || frame.stream > this.#lastId)
      throw new KwyreError('WIRE_STREAM_UNKNOWN', 'a response to no request');
    return this.#open.get(frame.stream);
  }

  /** Removes a request whose response is complete or whose client's connection has closed. */
  #close(relayed: RelayedRequest): void {
    if (this.#open.has(relayed.id)) {
      this.#remove(relayed);
      if (this.#closedBy === undefined) this.#abortAtEngine(relayed);
    }
    this.#paused.delete(relayed.request);
    relayed.wipe();
  }

  #remove(relayed: RelayedRequest): void {
    this.#open.delete(relayed.id);
    this.#quota.remove(relayed);
  }

  #abortAtEngine(relayed: RelayedRequest): void {
    this.#edge.send(dataMessages.requestAbort, undefined, relayed.id);
  }

  #cancel(relayed: RelayedRequest, fault: Fault): void {
    this.#remove(relayed);
    this.#abortAtEngine(relayed);
    relayed.fail(fault);
  }

  #evict(relayed: RelayedRequest, fault: Fault): void {
    this.#cancel(relayed, fault);
    relayed.destroySoon();
  }

  /** Ends every request made with a revoked token. @returns the connections that get an error response */
  revoke(principal: string): Set<Socket> {
    const revoked = [...this.#open.values()].filter((relayed) => relayed.holder.principal === principal);
    if (this.#closedBy === undefined) for (const relayed of revoked) this.#evict(relayed, faults.revoked);
    return new Set(revoked.map(({ request }) => request.socket));
  }

  /** Disconnects clients that stopped reading; called periodically. */
  dropStalled(): void {
    for (const relayed of this.#open.values()) if (relayed.isStalled(relayLimits.stallMs)) relayed.response.destroy();
  }

  /** Cancels every open request, sending an error to its client and a cancellation to the engine. */
  cancelAll(fault: Fault): void {
    for (const relayed of [...this.#open.values()]) this.#cancel(relayed, fault);
  }

  /** Ends every request with an error and forwards no more. Resolves once all responses have been sent. */
  async shutdown(fault: Fault): Promise<void> {
    this.#closedBy ??= fault;
    const closed = [...this.#open.values()].map(
      (relayed) =>
        new Promise<undefined>((resolve) => {
          relayed.response.once('close', () => {
            resolve(undefined);
          });
          this.#remove(relayed);
          relayed.fail(fault);
        }),
    );
    await Promise.all(closed);
  }
}
