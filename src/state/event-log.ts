/**
 * The event log: JSON lines of codes, counts, ids and times. Its type has no field for conversation text.
 *
 * Promise: writing an event never throws. Events that cannot be written are counted and reported: in `/kwyre/status`,
 *          once on the terminal, and in a line of the log as soon as it is writable again. A line is written either
 *          completely or not at all.
 * Proof:   test/unit/state/event-log.test.ts, test/attacks/x-disk.test.ts
 * @module
 */
import { join } from 'node:path';
import { appendSafely } from './private-file.ts';

/** One event, metadata only. `name` is the name of an executable, cleaned by `cleanName`. @internal */
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

/** Number of events lost in this run, and the error code of the last loss. */
type Losses = { readonly lost: number; readonly reason: string };

/** Name of the file in the state folder. */
export const eventsFile = 'events.jsonl';

export class EventLog {
  readonly #path: string;
  readonly #onLost: (reason: string) => void;
  #lost = 0;
  /** Number of events lost since a line was last written. */
  #unreported = 0;
  #reason = '';

  /** @param onLost - called with the error code whenever writing the log starts to fail */
  constructor(directory: string, onLost: (reason: string) => void) {
    this.#path = join(directory, eventsFile);
    this.#onLost = onLost;
  }

  /** Returns the number of events that are missing from the log, and why. */
  get losses(): Losses {
    return { lost: this.#lost, reason: this.#reason };
  }

  /** Appends one event, or counts it as lost. */
  write(event: Event): void {
    // Whole seconds, so that a jailed process, which can choose when an event is written, cannot encode data in
    // timestamps.
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
