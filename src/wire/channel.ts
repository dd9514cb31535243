/**
 * One end of an edge: frames in, looked up in a table of what this end may receive; frames out.
 *
 * Promise: default deny. A type that is not in the table, a `once` message that comes twice, a message of the start
 *          that comes later and a malformed frame are a breach by the sibling: no answer, `onBreach` ends the process.
 * Proof:   test/unit/wire/channel.test.ts
 * @module
 */
import type { Frame } from './frame.ts';
import { encodeFrame, FrameDecoder } from './frame.ts';
import { KwyreError } from '../base/errors.ts';

/** What carries the bytes; made by `linux/sockets/inherited-stream.ts` from a descriptor. */
export type Transport = {
  /** Takes over `bytes`, writes them in order and overwrites them afterwards. */
  write(bytes: Buffer): void;
};

/** What an end does with one type of message. */
export type Answer = {
  /** `start`: once, and only before {@link Channel.endStart}. */
  readonly permit: 'always' | 'once' | 'start';
  /** The payload is a view, valid only during the call. */
  readonly answer: (frame: Frame) => void;
};

export type DispatchTable = Readonly<Record<number, Answer>>;

export class Channel {
  readonly #table: DispatchTable;
  readonly #transport: Transport;
  readonly #onBreach: (error: KwyreError) => void;
  readonly #spent = new Set<number>();
  readonly #decoder: FrameDecoder;
  #broken = false;
  #started = false;

  constructor(transport: Transport, table: DispatchTable, onBreach: (error: KwyreError) => void) {
    this.#transport = transport;
    this.#table = table;
    this.#onBreach = onBreach;
    this.#decoder = new FrameDecoder((frame) => {
      this.#dispatch(frame);
    });
  }

  /** Feeds received bytes; the caller may overwrite them afterwards. */
  receive(chunk: Uint8Array): void {
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

  /** From now on messages of the start are a breach. */
  endStart(): void {
    this.#started = true;
  }

  /** Sends one message; the payload is copied into the frame, the caller overwrites its own bytes. */
  send(type: number, payload: Uint8Array = empty, stream = 0): void {
    this.#transport.write(encodeFrame(type, stream, payload));
  }

  #dispatch(frame: Frame): void {
    const entry = this.#table[frame.type];
    if (entry === undefined)
      throw new KwyreError('WIRE_MESSAGE_DENIED', `message ${String(frame.type)} is not permitted here`);
    if (entry.permit === 'start' && this.#started)
      throw new KwyreError('WIRE_MESSAGE_LATE', `message ${String(frame.type)} belongs to the start`);
    if (entry.permit !== 'always') {
      if (this.#spent.has(frame.type))
        throw new KwyreError('WIRE_MESSAGE_REPEATED', `message ${String(frame.type)} came twice`);
      this.#spent.add(frame.type);
    }
    entry.answer(frame);
  }
}

const empty = new Uint8Array(0);
