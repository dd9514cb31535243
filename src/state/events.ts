/**
 * The event log: JSON lines of codes, counts, ids and times; its type has no room for text of a conversation.
 * @module
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';

/** One event, metadata only; `name` is an executable's, cleaned of control characters. */
export type Event = { readonly code: string; readonly role?: string; readonly pid?: number; readonly count?: number; readonly signal?: string; readonly detector?: string; readonly uid?: number; readonly name?: string };

/** Appends one event. */
export function logEvent(directory: string, event: Event): void {
  appendFileSync(join(directory, 'events.jsonl'), `${JSON.stringify({ at: new Date().toISOString(), ...event })}\n`, { mode: 0o600 });
}
