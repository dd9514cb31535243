/**
 * One answer on its way to the gateway: tokens' text becomes JSON bytes, bytes become frames, within the credit.
 *
 * Promise: nothing of an answer outlives it here; every buffer is overwritten after the kernel took its bytes.
 * @module
 */
import type { Channel } from '../wire/channel.ts';
import { maxPayloadBytes } from '../wire/frame.ts';
import { dataMessages, encodeResponseHead, initialCreditBytes, mediaTypes } from '../wire/messages.ts';
import { ByteWriter } from './bytewriter.ts';
import type { Reader } from './generation.ts';
import type { FinishReason, RequestError, Usage } from './request.ts';
import type { AnswerHead } from './writer.ts';
import { writeCompletion, writeContentChunk, writeDone, writeError, writeErrorEvent, writeFinishChunk, writeRoleChunk, writeUsageChunk } from './writer.ts';

/** The response of one request on the data edge. */
export class Response {
  readonly #channel: Channel;
  readonly #stream: number;
  readonly out = new ByteWriter(512);
  #credit = initialCreditBytes;
  #begun = false;
  over = false;

  constructor(channel: Channel, stream: number) {
    this.#channel = channel;
    this.#stream = stream;
  }

  get begun(): boolean {
    return this.#begun;
  }

  /** Whether the client has more unread bytes than the window allows. */
  get behind(): boolean {
    return this.#credit <= 0;
  }

  grant(bytes: number): void {
    this.#credit += bytes;
  }

  begin(status: number, media: number): void {
    this.#begun = true;
    this.#channel.send(dataMessages.responseHead, encodeResponseHead({ status, media: media as 1 | 2, retryAfterSeconds: status === 429 || status === 503 ? 1 : 0 }), this.#stream);
  }

  /** Sends what was written and overwrites it. */
  flush(): void {
    const bytes = this.out.view();
    for (let at = 0; at < bytes.length; at += maxPayloadBytes) this.#channel.send(dataMessages.responseBody, bytes.subarray(at, at + maxPayloadBytes), this.#stream);
    this.#credit -= bytes.length;
    this.out.clear();
  }

  end(): void {
    if (this.over) return;
    this.over = true;
    this.flush();
    this.#channel.send(dataMessages.responseEnd, undefined, this.#stream);
    this.out[Symbol.dispose]();
  }

  /** The client is gone: nothing more is sent. */
  drop(): void {
    this.over = true;
    this.out[Symbol.dispose]();
  }

  /** Answers with an error, in whichever form the answer has begun. */
  fail(error: RequestError): void {
    if (this.over) return;
    if (this.#begun) writeErrorEvent(this.out, error);
    else {
      this.begin(error.status, mediaTypes.json);
      writeError(this.out, error);
    }
    this.end();
  }
}

/** A streamed answer: a chunk for each piece of text. */
export class StreamReader implements Reader {
  readonly #response: Response;
  readonly #head: AnswerHead;
  readonly #includeUsage: boolean;

  constructor(response: Response, head: AnswerHead, includeUsage: boolean) {
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
    if (this.#response.over) return;
    this.#open();
    writeContentChunk(this.#response.out, this.#head, bytes, this.#includeUsage);
    this.#response.flush();
  }

  finish(reason: FinishReason, usage: Usage): void {
    if (this.#response.over) return;
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
}

/** A whole answer: collected, then sent at once. */
export class WholeReader implements Reader {
  readonly #response: Response;
  readonly #head: AnswerHead;
  readonly #content = new ByteWriter(1024);

  constructor(response: Response, head: AnswerHead) {
    this.#response = response;
    this.#head = head;
  }

  content(bytes: Uint8Array): void {
    if (!this.#response.over) this.#content.bytes(bytes);
  }

  finish(reason: FinishReason, usage: Usage): void {
    if (!this.#response.over) {
      this.#response.begin(200, mediaTypes.json);
      writeCompletion(this.#response.out, this.#head, this.#content.view(), reason, usage);
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
