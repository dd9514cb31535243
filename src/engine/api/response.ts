/**
 * One answer on its way to the gateway: tokens' text becomes JSON bytes, bytes become frames, within the credit.
 *
 * Promise: nothing of an answer outlives it here; every buffer is overwritten after the kernel took its bytes. No byte
 *          goes out beyond the credit that the gateway gave.
 * Proof:   test/e2e/openai.test.ts
 * @module
 */
import type { Channel } from '../../wire/channel.ts';
import { maxPayloadBytes } from '../../wire/frame.ts';
import type { MediaType } from '../../wire/data-payloads.ts';
import { encodeResponseHead, initialCreditBytes, mediaTypes } from '../../wire/data-payloads.ts';
import { dataMessages } from '../../wire/messages.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import type { Reader } from '../inference/generation.ts';
import type { FinishReason, RequestError, Usage } from '../types.ts';
import type { CompletionHead } from './response-json.ts';
import {
  writeContentChunk,
  writeDone,
  writeError,
  writeErrorEvent,
  writeFinishChunk,
  writeRoleChunk,
  writeUsageChunk,
} from './response-json.ts';

/** The response of one request on the data edge. */
export class Response {
  readonly #channel: Channel;
  readonly #stream: number;
  readonly #onOver: () => void;
  /** What was written; the first `#sent` bytes of it are gone already. */
  readonly out = new ByteWriter(512);
  #sent = 0;
  #credit = initialCreditBytes;
  #begun = false;
  #ending = false;
  #over = false;

  /** The conversation that the answer belongs to, told in its head. */
  session: string | undefined;

  /** `onOver` comes once, after the last frame or when the client is gone. */
  constructor(channel: Channel, stream: number, onOver: () => void) {
    this.#channel = channel;
    this.#stream = stream;
    this.#onOver = onOver;
  }

  get begun(): boolean {
    return this.#begun;
  }

  /** Whether nothing more can be said. */
  get closed(): boolean {
    return this.#ending || this.#over;
  }

  /** Whether the client has more unread bytes than the window allows. */
  get behind(): boolean {
    return this.#credit <= this.out.length - this.#sent;
  }

  /** The client has taken some bytes. */
  grant(bytes: number): void {
    this.#credit += bytes;
    this.flush();
  }

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

  /** Sends what was written as far as the credit goes, and overwrites it once all of it is sent. */
  flush(): void {
    if (this.#over) return;
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
    if (!this.#ending) return;
    this.#channel.send(dataMessages.responseEnd, undefined, this.#stream);
    this.drop();
  }

  /** Says that nothing more will be written. */
  end(): void {
    if (this.closed) return;
    this.#ending = true;
    this.flush();
  }

  /** The client is gone, or has everything: nothing more is sent. */
  drop(): void {
    if (this.#over) return;
    this.#over = true;
    this.out[Symbol.dispose]();
    this.#onOver();
  }

  /** Answers with an error, in whichever form the answer has begun. */
  fail(error: RequestError): void {
    if (this.closed) return;
    if (this.#begun) writeErrorEvent(this.out, error);
    else {
      this.begin(error.status, mediaTypes.json);
      writeError(this.out, error);
    }
    this.end();
  }
}

/** A reader that can be let go before the answer has ended. */
export type ResponseSink = Reader & Disposable;

/** A streamed answer: a chunk for each piece of text. */
export class EventStreamSink implements ResponseSink {
  readonly #response: Response;
  readonly #head: CompletionHead;
  readonly #includeUsage: boolean;

  constructor(response: Response, head: CompletionHead, includeUsage: boolean) {
    this.#response = response;
    this.#head = head;
    this.#includeUsage = includeUsage;
  }

  #open(): void {
    if (this.#response.begun) return;
    this.#response.begin(200, mediaTypes.eventStream);
    writeRoleChunk(this.#response.out, this.#head, this.#includeUsage);
  }

  content(bytes: Uint8Array): void {
    if (this.#response.closed) return;
    this.#open();
    writeContentChunk(this.#response.out, this.#head, bytes, this.#includeUsage);
  }

  deliver(): void {
    if (this.#response.begun) this.#response.flush();
  }

  finish(reason: FinishReason, usage: Usage): void {
    if (this.#response.closed) return;
    this.#open();
    writeFinishChunk(this.#response.out, this.#head, reason, this.#includeUsage);
    if (this.#includeUsage) writeUsageChunk(this.#response.out, this.#head, usage);
    writeDone(this.#response.out);
    this.#response.end();
  }

  fail(error: RequestError): void {
    this.#response.fail(error);
  }

  behind(): boolean {
    return this.#response.behind;
  }

  /** It keeps nothing of its own. */
  [Symbol.dispose](): void {
    return;
  }
}

/** Writes a whole answer around its text, in the form that was asked for. */
export type WriteWhole = (out: ByteWriter, content: Buffer, reason: FinishReason, usage: Usage) => void;

/** A whole answer: collected, then sent at once. */
export class JsonSink implements ResponseSink {
  readonly #response: Response;
  readonly #write: WriteWhole;
  readonly #content = new ByteWriter(1024);

  constructor(response: Response, write: WriteWhole) {
    this.#response = response;
    this.#write = write;
  }

  content(bytes: Uint8Array): void {
    if (!this.#response.closed) this.#content.bytes(bytes);
  }

  finish(reason: FinishReason, usage: Usage): void {
    if (!this.#response.closed) {
      this.#response.begin(200, mediaTypes.json);
      this.#write(this.#response.out, this.#content.view(), reason, usage);
      this.#response.end();
    }
    this.#content[Symbol.dispose]();
  }

  fail(error: RequestError): void {
    this.#content[Symbol.dispose]();
    this.#response.fail(error);
  }

  behind(): boolean {
    return false;
  }

  /** The client is gone. */
  [Symbol.dispose](): void {
    this.#content[Symbol.dispose]();
  }
}
