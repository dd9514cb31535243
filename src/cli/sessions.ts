/**
 * How many conversations the server keeps, and for how long: numbers for `kwyre status` and `kwyre chat`.
 *
 * Proof: test/unit/cli/sessions.test.ts
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import type { Server } from './client.ts';
import { readJson, send } from './client.ts';

/** One entry of `GET /kwyre/sessions`. */
type Entry = { readonly id: string; readonly left_s: number };

/**
 * Conversations with an id, those of clients that send their history again, and when the last of them is wiped by
 * itself.
 */
export type Conversations = { readonly kept: number; readonly continued: number; readonly longest_left_s: number };

const isContinued = ({ id }: Entry) => id.startsWith('cont_');

export function countEntries(data: readonly Entry[]): Conversations {
  const continued = data.filter(isContinued).length;
  return {
    kept: data.length - continued,
    continued,
    longest_left_s: data.reduce((most, { left_s }) => Math.max(most, left_s), 0),
  };
}

/** A duration: seconds below two minutes, else whole minutes. */
export function describeSeconds(seconds: number): string {
  return seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
}

export function describeConversations({ kept, continued, longest_left_s: left }: Conversations): string {
  if (kept + continued === 0) return 'conversations: none';
  return (
    `conversations: ${kept} with an id, ${continued} recognised by their history; all are wiped within ` +
    `${describeSeconds(left)} unless they are used`
  );
}

/** The conversations of this token, the most recently used last; `undefined` if the server does not list them. */
export async function listEntries(server: Server): Promise<readonly Entry[] | undefined> {
  try {
    return ((await readJson(await send(server, 'GET', '/kwyre/sessions'))) as { data: readonly Entry[] }).data;
  } catch (error) {
    if (!(error instanceof KwyreError)) throw error;
    return undefined;
  }
}

/** How long the conversation that was last recognised by its history is kept, in seconds. */
export async function secondsLeft(server: Server): Promise<number | undefined> {
  return (await listEntries(server))?.findLast(isContinued)?.left_s;
}
