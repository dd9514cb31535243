/**
 * Sends one response to the gateway, in frames, as far as the flow-control credit allows.
 *
 * Promise: a written byte is overwritten once the kernel has accepted it. Nothing is sent beyond the gateway's credit.
 * Proof:   test/unit/engine/response.test.ts, test/e2e/openai.test.ts
 * @module
 */
import type { Channel } from '../../wire/channel.ts';
import { maxPayloadBytes } from '../../wire/frame.ts';
import type { MediaType } from '../../wire/data-payloads.ts';
import { encodeResponseHead, initialCreditBytes, mediaTypes } from '../../wire/data-payloads.ts';
import { dataMessages } from '../../wire/messages.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import type { RequestError } from '../types.ts';
import { writeError, writeErrorEvent } from './response-json.ts';

export class Response {
  readonly #channel: Channel;
  readonly #stream: number;
  readonly #onClose: () => void;
  /** The body. Its first `#sent` bytes have been sent. */
  readonly out = new ByteWriter(512);
  #sent = 0;
  #credit = initialCreditBytes;
  #begun = false;
  #ended = false;
  #closed = false;

  /** The conversation id to be sent in the response's head. */
  session: string | undefined;

  /** @param onClose - called once, after the last frame or when the client has disconnected */
  constructor(channel: Channel, stream: number, onClose: () => void) {
    this.#channel = channel;
    this.#stream = stream;
    this.#onClose = onClose;
  }

  /** Whether the head has been sent. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Whether nothing more can be written. */
  get ended(): boolean {
    return this.#ended || this.#closed;
  }

  /** Whether the bytes that are waiting use up the credit. */
  get congested(): boolean {
    return this.#credit <= this.out.length - this.#sent;
  }

  /** Adds credit for bytes that the client has received. */
  addCredit(bytes: number): void {
    this.#credit += bytes;
    this.flush();
  }

  /** Sends the head. */
  begin(status: number, media: MediaType): void {
    this.#begun = true;
    this.#channel.send(
      dataMessages.responseHead,
      encodeResponseHead({
        status,
        media,
        retryAfterSeconds: status === 429 || status === 503 ? 1 : 0,
        session: this.session,
      }),
      this.#stream,
    );
  }

  /** Sends as much of the body as the credit allows, and overwrites it once all of it has been sent. */
  flush(): void {
    if (this.#closed) return;
    const bytes = this.out.view();
    while (this.#sent < bytes.length && this.#credit > 0) {
      const part = bytes.subarray(
        this.#sent,
        Math.min(this.#sent + Math.min(this.#credit, maxPayloadBytes), bytes.length),
      );
      this.#channel.send(dataMessages.responseBody, part, this.#stream);
      this.#sent += part.length;
      this.#credit -= part.length;
    }
    if (this.#sent < bytes.length) return;
    this.out.clear();
    this.#sent = 0;
    if (!this.#ended) return;
    this.#channel.send(dataMessages.responseEnd, undefined, this.#stream);
    this.close();
  }

  /** Ends the body. */
  end(): void {
    if (this.ended) return;
    this.#ended = true;
    this.flush();
  }

  /** Overwrites the unsent bytes and sends nothing more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.out[Symbol.dispose]();
    this.#onClose();
  }

  /** Ends the response with an error: as the whole body, or as the last event if a stream has begun. */
  fail(error: RequestError): void {
    if (this.ended) return;
    if (this.#begun) writeErrorEvent(this.out, error);
    else {
      this.begin(error.status, mediaTypes.json);
      writeError(this.out, error);
    }
    this.end();
  }
}
