/**
 * The event log: JSON lines of codes, counts, ids and times. Its type has no field for text of a conversation.
 *
 * Promise: writing an event never throws. Events that cannot be written are counted and reported: in `/kwyre/status`,
 *          once on the terminal, and by a line of the log as soon as it can be written again. A line is written whole
 *          or not at all.
 * Proof:   test/unit/state/event-log.test.ts, test/attacks/x-disk.test.ts
 * @module
 */
import { join } from 'node:path';
import { appendSafely } from './private-file.ts';

/** One event, metadata only; `name` is the name of an executable, cleaned by `cleanName`. @internal */
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

/** How many events of this run were lost, and the error code of the last one. */
type Losses = { readonly lost: number; readonly reason: string };

/** Name of the file in the state folder. */
export const eventsFile = 'events.jsonl';

export class EventLog {
  readonly #path: string;
  readonly #onLost: (reason: string) => void;
  #lost = 0;
  /** Events lost since a line was last written. */
  #unreported = 0;
  #reason = '';

  /** @param onLost - called with the error code whenever the log starts to fail */
  constructor(directory: string, onLost: (reason: string) => void) {
    this.#path = join(directory, eventsFile);
    this.#onLost = onLost;
  }

  /** Events that are missing from the log. */
  get losses(): Losses {
    return { lost: this.#lost, reason: this.#reason };
  }

  /** Appends one event, or counts it as lost. */
  write(event: Event): void {
    // Whole seconds: a jailed process can choose when an event is written, and must not encode data in the time.
    const at = `${new Date().toISOString().slice(0, 19)}Z`;
    const events: readonly Event[] =
      this.#unreported === 0 ? [event] : [{ code: 'EVENTS_LOST', count: this.#unreported }, event];
    try {
      appendSafely(this.#path, events.map((one) => `${JSON.stringify({ at, ...one })}\n`).join(''), 0o600);
      this.#unreported = 0;
    } catch (error) {
      this.#lost += 1;
      this.#unreported += 1;
      this.#reason = (error as NodeJS.ErrnoException).code ?? 'error';
      if (this.#unreported === 1) this.#onLost(this.#reason);
    }
  }
}
