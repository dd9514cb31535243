/**
 * `GET /kwyre/status`: asked of the supervisor over the control edge, relayed as it came.
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Frame } from '../wire/frame.ts';
import { sendFault, sendWhole } from './local-response.ts';

const answerMs = 3000;

export class StatusDesk {
  readonly #send: (stream: number) => void;
  readonly #waiting = new Map<number, (body: Buffer | undefined) => void>();
  #last = 0;

  /** @param send - asks the supervisor; its answer comes to {@link answer} with the same number. */
  constructor(send: (stream: number) => void) {
    this.#send = send;
  }

  ask(request: IncomingMessage, response: ServerResponse): void {
    this.#last = (this.#last % 0xffffffff) + 1;
    const id = this.#last;
    const settle = (body: Buffer | undefined) => {
      clearTimeout(timer);
      if (!this.#waiting.delete(id) || response.destroyed) return;
      if (body === undefined)
        sendFault(
          request,
          response,
          { status: 503, code: 'status_unavailable', message: 'The supervisor did not answer in time.' },
          false,
        );
      else sendWhole(response, 200, 'application/json', body);
    };
    const timer = setTimeout(() => {
      settle(undefined);
    }, answerMs);
    this.#waiting.set(id, settle);
    this.#send(id);
  }

  /** The supervisor's answer; one that nobody waits for any more is dropped. */
  answer(frame: Frame): void {
    this.#waiting.get(frame.stream)?.(Buffer.from(frame.payload));
  }
}
