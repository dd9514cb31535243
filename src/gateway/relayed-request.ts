/**
 * One HTTP request that is relayed to the engine, from its first frame to the end of its response.
 *
 * Promise: response bytes are overwritten once the kernel has accepted them, or when the connection closes before that.
 *          The engine cannot send more than its credit.
 * Proof:   test/unit/gateway/relay.test.ts, test/attacks/1-memory.test.ts
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { copyBytes, wipeBytes } from '../base/bytes.ts';
import { KwyreError } from '../base/errors.ts';
import { initialCreditBytes, mediaTypes, parseResponseHead } from '../wire/data-payloads.ts';
import { maxPayloadBytes } from '../wire/frame.ts';
import type { Fault } from './faults.ts';
import { errorBody, fixedHeaders, lingerLimits, sendFault } from './local-response.ts';
import type { QuotaEntry, TokenHolder } from './request-quota.ts';

/** Credit is returned in steps of this size, because a message per token would interrupt the engine's next step. */
const creditStepBytes = initialCreditBytes / 4;

const contentTypes = {
  [mediaTypes.json]: 'application/json',
  [mediaTypes.eventStream]: 'text/event-stream; charset=utf-8',
} as const;

type RelayedRequestOptions = {
  /** The stream number of its frames. */
  readonly id: number;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly holder: TokenHolder;
  /** Declared length of the body in bytes. */
  readonly bytes: number;
  /** Returns credit to the engine. */
  readonly onCredit: (bytes: number) => void;
  readonly now: () => number;
};

export class RelayedRequest implements QuotaEntry {
  readonly id: number;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly holder: TokenHolder;
  readonly bytes: number;
  readonly #onCredit: (bytes: number) => void;
  readonly #now: () => number;
  /** Response bytes that the kernel has not accepted yet. */
  readonly #pending = new Set<Buffer>();
  #isStream = false;
  #unacknowledged = 0;
  /** Number of bytes that the client has received and that have not yet been returned as credit. */
  #credit = 0;
  #progressAt: number;

  constructor({ id, request, response, holder, bytes, onCredit, now }: RelayedRequestOptions) {
    this.id = id;
    this.request = request;
    this.response = response;
    this.holder = holder;
    this.bytes = bytes;
    this.#onCredit = onCredit;
    this.#now = now;
    this.#progressAt = now();
  }

  evictionRank(): 0 | 1 | undefined {
    return this.response.headersSent ? undefined : this.request.complete ? 1 : 0;
  }

  /** Sends the status and headers. @throws `WIRE_MESSAGE_*` if the head is malformed or repeated */
  writeHead(payload: Buffer): void {
    const head = parseResponseHead(payload);
    if (this.response.headersSent) throw new KwyreError('WIRE_MESSAGE_REPEATED', 'a second response.head');
    this.#isStream = head.media === mediaTypes.eventStream;
    this.response.writeHead(head.status, {
      ...fixedHeaders,
      'Content-Type': contentTypes[head.media],
      ...(head.session === undefined ? {} : { 'Kwyre-Session': `conv_${head.session}` }),
      ...(head.retryAfterSeconds > 0 ? { 'Retry-After': String(head.retryAfterSeconds) } : {}),
    });
    this.response.flushHeaders();
  }

  /**
   * Sends a copy of response bytes.
   * @throws `WIRE_MESSAGE_ORDER` if called before the head, `WIRE_CREDIT_EXCEEDED` if there is not enough credit
   */
  writeBody(payload: Buffer): void {
    if (!this.response.headersSent) throw new KwyreError('WIRE_MESSAGE_ORDER', 'response.body before response.head');
    const { length } = payload;
    if (length === 0) return;
    if (this.#unacknowledged === 0) this.#progressAt = this.#now();
    this.#unacknowledged += length;
    if (this.#unacknowledged > initialCreditBytes + maxPayloadBytes)
      throw new KwyreError('WIRE_CREDIT_EXCEEDED', 'response bytes beyond the credit');
    const bytes = copyBytes(payload);
    this.#pending.add(bytes);
    this.response.write(bytes, (error) => {
      wipeBytes(bytes);
      this.#pending.delete(bytes);
      this.#unacknowledged -= length;
      this.#progressAt = this.#now();
      this.#credit += length;
      if (error || this.#credit < creditStepBytes) return;
      this.#onCredit(this.#credit);
      this.#credit = 0;
    });
  }

  /** Completes the response. @throws `WIRE_MESSAGE_ORDER` if called before the head */
  end(): void {
    if (!this.response.headersSent) throw new KwyreError('WIRE_MESSAGE_ORDER', 'response.end before response.head');
    this.response.end();
  }

  /**
   * Ends the request with an error. The error is the whole response if none has begun, or else the last event of a
   * stream. Any other response is cut off by closing the connection.
   */
  fail(fault: Fault): void {
    const { request, response } = this;
    if (!response.headersSent) sendFault(request, response, fault, true);
    else if (this.#isStream) {
      response.end(Buffer.concat([Buffer.from('data: '), errorBody(fault), Buffer.from('\n\n')]), () => {
        request.socket.end();
      });
    } else response.destroy();
  }

  /** Closes the connection soon, even if the client does not read the error. */
  destroySoon(): void {
    const timer = setTimeout(() => {
      this.request.socket.destroy();
    }, 2 * lingerLimits.ms);
    this.response.once('close', () => {
      clearTimeout(timer);
    });
  }

  /** Returns whether the client has received no response bytes for `ms` milliseconds. */
  isStalled(ms: number): boolean {
    return this.#unacknowledged > 0 && this.#now() - this.#progressAt > ms;
  }

  /** Overwrites pending response bytes, and reads and overwrites the rest of the body. */
  wipe(): void {
    this.request.resume();
    for (const bytes of this.#pending) wipeBytes(bytes);
    this.#pending.clear();
    for (;;) {
      const chunk = this.request.read() as Buffer | null;
      if (chunk === null) return;
      wipeBytes(chunk);
    }
  }
}
