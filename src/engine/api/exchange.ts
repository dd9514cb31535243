/**
 * One request from its first frame to the last frame of its response.
 *
 * Promise: the body is one buffer, which is overwritten no later than the end of the exchange.
 * Proof:   test/e2e/engine.test.ts
 * @module
 */
import { plaintextBytes, wipeBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import type { RequestOpen } from '../../wire/data-payloads.ts';
import type { Generation } from '../inference/generation.ts';
import type { ResponseSink } from './response-sinks.ts';
import type { Response } from './response.ts';

/** Returns the error for a frame that the gateway is not allowed to send at this point, which is a breach. */
export const protocolError = (message: string): KwyreError => new KwyreError('WIRE_MESSAGE_SHAPE', message);

export class Exchange {
  readonly open: RequestOpen;
  readonly body: Buffer;
  readonly response: Response;
  sink: ResponseSink | undefined;
  generation: Generation | undefined;
  #received = 0;
  #complete = false;

  constructor(open: RequestOpen, response: Response) {
    this.open = open;
    this.body = plaintextBytes(open.bodyLength);
    this.response = response;
  }

  /** Adds a part of the body. @throws `WIRE_MESSAGE_SHAPE` if the body exceeds the declared length */
  receive(part: Uint8Array): void {
    if (this.#complete || this.#received + part.length > this.body.length)
      throw protocolError('the body is longer than declared');
    this.body.set(part, this.#received);
    this.#received += part.length;
  }

  /** Marks the body as complete. @throws `WIRE_MESSAGE_SHAPE` if it is shorter than declared */
  complete(): void {
    if (this.#complete || this.#received !== this.body.length) throw protocolError('the body is shorter than declared');
    this.#complete = true;
  }

  /** Parses the body and overwrites it. */
  parse<T>(parse: (body: Buffer) => T): T {
    try {
      return parse(this.body);
    } finally {
      wipeBytes(this.body);
    }
  }

  /** Overwrites the body and the collected text. @returns whether a generation was still running and was cancelled */
  dispose(): boolean {
    wipeBytes(this.body);
    this.sink?.[Symbol.dispose]();
    if (this.generation === undefined || this.generation.over) return false;
    this.generation.cancelled = true;
    return true;
  }
}
