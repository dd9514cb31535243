/**
 * Where the server of a state folder runs, for the clients of the same person.
 * @module
 */
import { join } from 'node:path';
import { readPrivate, removePrivate, writePrivate } from './directory.ts';

/** How a client finds a running server. */
export type Presence = { readonly pid: number; readonly port: number; readonly socket: string | null; readonly model: string; readonly startedAt: string };

export function presencePath(directory: string): string {
  return join(directory, 'server.json');
}

export function writePresence(directory: string, presence: Presence): void {
  writePrivate(presencePath(directory), `${JSON.stringify(presence)}\n`);
}

/** Where the server of this folder runs, or `undefined`. */
export function readPresence(directory: string): Presence | undefined {
  const text = readPrivate(presencePath(directory));
  if (text === undefined) return undefined;
  let value: Partial<Presence> | null;
  try {
    value = JSON.parse(text) as Partial<Presence> | null;
  } catch {
    return undefined; // cut off by a full disk
  }
  return typeof value?.pid === 'number' && typeof value.port === 'number' ? (value as Presence) : undefined;
}

export function removePresence(directory: string): void {
  removePrivate(presencePath(directory));
}
