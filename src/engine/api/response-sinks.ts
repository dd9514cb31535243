/**
 * The two forms in which a generation is sent to the client: a stream of events, or one JSON document.
 *
 * Promise: collected text is overwritten when the response ends, fails or is dropped.
 * Proof:   test/unit/engine/response.test.ts
 * @module
 */
import { mediaTypes } from '../../wire/data-payloads.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import type { Sink } from '../inference/generation.ts';
import type { FinishReason, RequestError, Usage } from '../types.ts';
import type { CompletionHead } from './response-json.ts';
import { ContentChunks, writeDone, writeFinishChunk, writeRoleChunk, writeUsageChunk } from './response-json.ts';
import type { Response } from './response.ts';

/** A sink that can be disposed even before its generation has ended. */
export type ResponseSink = Sink & Disposable;

/** Sends a chunk for each piece of text. */
export class EventStreamSink implements ResponseSink {
  readonly #response: Response;
  readonly #head: CompletionHead;
  readonly #includeUsage: boolean;
  /** Made for the first content, because it holds the id of the response. */
  #chunks: ContentChunks | undefined;

  constructor(response: Response, head: CompletionHead, includeUsage: boolean) {
    this.#response = response;
    this.#head = head;
    this.#includeUsage = includeUsage;
  }

  #begin(): void {
    if (this.#response.begun) return;
    this.#response.begin(200, mediaTypes.eventStream);
    writeRoleChunk(this.#response.out, this.#head, this.#includeUsage);
  }

  content(bytes: Uint8Array): void {
    if (this.#response.ended) return;
    this.#begin();
    this.#chunks ??= new ContentChunks(this.#head, this.#includeUsage);
    this.#chunks.write(this.#response.out, bytes);
  }

  flush(): void {
    if (this.#response.begun) this.#response.flush();
  }

  finish(reason: FinishReason, usage: Usage): void {
    if (this.#response.ended) return;
    this.#begin();
    writeFinishChunk(this.#response.out, this.#head, reason, this.#includeUsage);
    if (this.#includeUsage) writeUsageChunk(this.#response.out, this.#head, usage);
    writeDone(this.#response.out);
    this.#response.end();
  }

  fail(error: RequestError): void {
    this.#response.fail(error);
  }

  congested(): boolean {
    return this.#response.congested;
  }

  /** Overwrites the id of the response. */
  [Symbol.dispose](): void {
    this.#chunks?.[Symbol.dispose]();
  }
}

/** Writes a JSON document around the text. */
type WriteDocument = (out: ByteWriter, content: Buffer, reason: FinishReason, usage: Usage) => void;

/** Collects the text, then sends one document. */
export class JsonSink implements ResponseSink {
  readonly #response: Response;
  readonly #write: WriteDocument;
  readonly #content = new ByteWriter(1024);

  constructor(response: Response, write: WriteDocument) {
    this.#response = response;
    this.#write = write;
  }

  content(bytes: Uint8Array): void {
    if (!this.#response.ended) this.#content.bytes(bytes);
  }

  finish(reason: FinishReason, usage: Usage): void {
    if (!this.#response.ended) {
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

  congested(): boolean {
    return false;
  }

  /** Overwrites the text. */
  [Symbol.dispose](): void {
    this.#content[Symbol.dispose]();
  }
}
