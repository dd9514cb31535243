/**
 * One end of an edge. It dispatches received frames through a table of permitted messages, and sends frames.
 *
 * Promise: default deny. A type that is not in the table, a repeated `once` message, a startup message after startup
 *          and a malformed frame are breaches by the peer. There is no reply; `onBreach` ends the process.
 * Proof:   test/unit/wire/channel.test.ts
 * @module
 */
import type { Frame } from './frame.ts';
import { encodeFrame, FrameDecoder } from './frame.ts';
import { KwyreError } from '../base/errors.ts';

/** Transports the bytes. `linux/sockets/inherited-stream.ts` creates a transport from a descriptor. */
type Transport = {
  /** Takes ownership of `bytes`, writes them in order and then overwrites them. */
  write(bytes: Buffer): void;
};

/** When a type of message is permitted, and its handler. */
type MessageRule = {
  /** `start` permits the message once, and only before {@link Channel.endStartup}. */
  readonly permit: 'always' | 'once' | 'start';
  /** Handles a frame. Its payload is a view that is valid only during the call. */
  readonly handle: (frame: Frame) => void;
};

export type DispatchTable = Readonly<Record<number, MessageRule>>;

export class Channel {
  readonly #table: DispatchTable;
  readonly #transport: Transport;
  readonly #onBreach: (error: KwyreError) => void;
  readonly #received = new Set<number>();
  readonly #decoder: FrameDecoder;
  #broken = false;
  #startupEnded = false;

  constructor(transport: Transport, table: DispatchTable, onBreach: (error: KwyreError) => void) {
    this.#transport = transport;
    this.#table = table;
    this.#onBreach = onBreach;
    this.#decoder = new FrameDecoder((frame) => {
      this.#dispatch(frame);
    });
  }

  /** Dispatches the frames in `chunk`. The caller overwrites `chunk` afterwards. */
  receive(chunk: Buffer): void {
    if (this.#broken) return;
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      if (!(error instanceof KwyreError) || !error.code.startsWith('WIRE_')) throw error;
      this.#broken = true;
      this.#decoder[Symbol.dispose]();
      this.#onBreach(error);
    }
  }

  /** Ends the startup phase. From then on, a `start` message is a breach. */
  endStartup(): void {
    this.#startupEnded = true;
  }

  /** Sends one message. The payload is copied into the frame; the caller must overwrite the original. */
  send(type: number, payload: Uint8Array = empty, stream = 0): void {
    this.#transport.write(encodeFrame(type, stream, payload));
  }

  #dispatch(frame: Frame): void {
    const rule = this.#table[frame.type];
    if (rule === undefined)
      throw new KwyreError('WIRE_MESSAGE_DENIED', `message ${String(frame.type)} is not permitted on this edge`);
    if (rule.permit === 'start' && this.#startupEnded)
      throw new KwyreError('WIRE_MESSAGE_LATE', `message ${String(frame.type)} is permitted during startup only`);
    if (rule.permit !== 'always') {
      if (this.#received.has(frame.type))
        throw new KwyreError('WIRE_MESSAGE_REPEATED', `message ${String(frame.type)} was repeated`);
      this.#received.add(frame.type);
    }
    rule.handle(frame);
  }
}

const empty = new Uint8Array(0);
