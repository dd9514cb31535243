/**
 * The number of conversations that the server keeps, and how long it keeps them, for `kwyre status` and `kwyre chat`.
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
 * The number of conversations with an id, the number of those recognised by their history, and the seconds until the
 * last of them expires.
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

/** Formats a duration: in seconds below two minutes, in whole minutes otherwise. */
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

/** Lists this token's conversations, the most recently used last; `undefined` if the server does not list them. */
export async function listEntries(server: Server): Promise<readonly Entry[] | undefined> {
  try {
    return ((await readJson(await send(server, 'GET', '/kwyre/sessions'))) as { data: readonly Entry[] }).data;
  } catch (error) {
    if (!(error instanceof KwyreError)) throw error;
    return undefined;
  }
}

/** Returns the seconds until the conversation that was last recognised by its history expires. */
export async function secondsLeft(server: Server): Promise<number | undefined> {
  return (await listEntries(server))?.findLast(isContinued)?.left_s;
}
