/**
 * Where the server of a state folder runs, for the clients of the same person.
 * @module
 */
import { join } from 'node:path';
import { readPrivate, removePrivate, writePrivate } from './state-directory.ts';

/** What the kernel says of a running server, so that a command knows it again; written by the server itself. */
export type Witness = {
  /** This boot of the machine, and the namespace in which its pid is a pid. */
  readonly boot: string;
  readonly pids: string;
  /** When the process was started, in ticks after boot: with the pid it names a process for good. */
  readonly started: number;
  /** Inodes of the lock that it holds and of the socket that it listens on. */
  readonly lock: number;
  readonly listener: number;
  /** `device:inode` of its executable. */
  readonly executable: string;
};

/** How a client finds a running server; an installed one, which its user may not look into, has no witness. */
export type Presence = {
  readonly pid: number;
  readonly port: number;
  readonly socket: string | null;
  readonly model: string;
  readonly startedAt: string;
  readonly witness?: Witness;
};

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
  let value: Unchecked<Presence> | null;
  try {
    value = JSON.parse(text) as Unchecked<Presence> | null;
  } catch {
    return undefined; // cut off by a full disk
  }
  return value !== null && isPresence(value) ? value : undefined;
}

type Unchecked<T> = { readonly [K in keyof T]?: unknown };

/** Whether it has the shape that a server writes: a file of this user's that something else wrote names no server. */
function isPresence(value: Unchecked<Presence>): value is Presence {
  const { pid, port, socket, model, startedAt, witness } = value;
  if (
    !Number.isSafeInteger(pid) ||
    !Number.isSafeInteger(port) ||
    typeof model !== 'string' ||
    typeof startedAt !== 'string' ||
    (socket !== null && typeof socket !== 'string')
  )
    return false;
  return witness === undefined || (typeof witness === 'object' && witness !== null && isWitness(witness));
}

function isWitness({ boot, pids, started, lock, listener, executable }: Unchecked<Witness>): boolean {
  return (
    [boot, pids, executable].every((text) => typeof text === 'string') &&
    [started, lock, listener].every((count) => typeof count === 'number')
  );
}

export function removePresence(directory: string): void {
  removePrivate(presencePath(directory));
}
