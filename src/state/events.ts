/**
 * The event log: JSON lines of codes, counts, ids and times; its type has no room for text of a conversation.
 * @module
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';

/** One event, metadata only. */
export type Event = { readonly code: string; readonly role?: string; readonly pid?: number; readonly count?: number; readonly signal?: string };

/** Appends one event. */
export function logEvent(directory: string, event: Event): void {
  appendFileSync(join(directory, 'events.jsonl'), `${JSON.stringify({ at: new Date().toISOString(), ...event })}\n`, { mode: 0o600 });
}
