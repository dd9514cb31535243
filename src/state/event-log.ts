/**
 * The event log: JSON lines of codes, counts, ids and times; its type has no room for text of a conversation.
 *
 * Promise: writing an event never throws. What cannot be written is lost, counted and said: in `/kwyre/status`, once on
 *          the terminal, and by a line of its own as soon as the disk takes one again. A line is whole or not there.
 * Proof:   test/unit/state/event-log.test.ts, test/attacks/x-disk.test.ts
 * @module
 */
import { join } from 'node:path';
import { appendSafely } from './private-file.ts';

/** One event, metadata only; `name` is an executable's, as `cleanName` leaves it. */
export type Event = {
  readonly code: string;
  readonly role?: string;
  readonly pid?: number;
  readonly count?: number;
  readonly signal?: string;
  readonly detector?: string;
  readonly uid?: number;
  readonly name?: string;
};

/** How many events of this run could not be written, and the system's word for why the last one could not. */
export type Losses = { readonly lost: number; readonly reason: string };

/** The file below the state folder. */
export const eventsFile = 'events.jsonl';

export class EventLog {
  readonly #path: string;
  readonly #onLost: (reason: string) => void;
  #lost = 0;
  /** Lost since a line was last written. */
  #untold = 0;
  #reason = '';

  /** @param onLost - told why, once for each time that the log begins to fail */
  constructor(directory: string, onLost: (reason: string) => void) {
    this.#path = join(directory, eventsFile);
    this.#onLost = onLost;
  }

  /** Events that are not in the log. */
  get losses(): Losses {
    return { lost: this.#lost, reason: this.#reason };
  }

  /** Appends one event, or counts it as lost. */
  write(event: Event): void {
    // Whole seconds: the moment at which a jailed process makes us write must not carry much.
    const at = `${new Date().toISOString().slice(0, 19)}Z`;
    const events: readonly Event[] =
      this.#untold === 0 ? [event] : [{ code: 'EVENTS_LOST', count: this.#untold }, event];
    try {
      appendSafely(this.#path, events.map((one) => `${JSON.stringify({ at, ...one })}\n`).join(''), 0o600);
      this.#untold = 0;
    } catch (error) {
      this.#lost += 1;
      this.#untold += 1;
      this.#reason = (error as NodeJS.ErrnoException).code ?? 'error';
      if (this.#untold === 1) this.#onLost(this.#reason);
    }
  }
}
