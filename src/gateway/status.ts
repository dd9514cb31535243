/**
 * `GET /kwyre/status`: requests the status from the supervisor over the control edge and relays it unchanged.
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Frame } from '../wire/frame.ts';
import { faults } from './faults.ts';
import { sendFault, sendWhole } from './local-response.ts';

const timeoutMs = 3000;

export class StatusProxy {
  readonly #send: (stream: number) => void;
  readonly #pending = new Map<number, (body: Buffer | undefined) => void>();
  #lastId = 0;

  /** @param send - requests the status; the reply is passed to {@link receive} with the same stream number */
  constructor(send: (stream: number) => void) {
    this.#send = send;
  }

  /** Responds with the status, or with 503 after a timeout. */
  request(request: IncomingMessage, response: ServerResponse): void {
    this.#lastId = (this.#lastId % 0xffffffff) + 1;
    const id = this.#lastId;
    const settle = (body: Buffer | undefined) => {
      clearTimeout(timer);
      if (!this.#pending.delete(id) || response.destroyed) return;
      if (body === undefined) sendFault(request, response, faults.statusUnavailable, false);
      else sendWhole(response, 200, 'application/json', body);
    };
    const timer = setTimeout(() => {
      settle(undefined);
    }, timeoutMs);
    this.#pending.set(id, settle);
    this.#send(id);
  }

  /** Handles the supervisor's reply. A late reply is dropped. */
  receive(frame: Frame): void {
    this.#pending.get(frame.stream)?.(Buffer.from(frame.payload));
  }
}
