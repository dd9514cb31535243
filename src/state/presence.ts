/**
 * The presence file, from which the user's commands learn where the server that uses a state folder is running.
 *
 * Proof: test/unit/state/server-witness.test.ts
 * @module
 */
import { join } from 'node:path';
import { readPrivate, removePrivate, writePrivate } from './state-directory.ts';

/** The kernel's view of a running server, written by the server so that a command can verify it. */
export type Witness = {
  /** Boot id of the kernel. */
  readonly boot: string;
  /** The server's pid namespace. */
  readonly pids: string;
  /** Start time in ticks after boot; unique together with the pid. */
  readonly started: number;
  /** Inodes of the server's lock file and listening socket. */
  readonly lock: number;
  readonly listener: number;
  /** `device:inode` of the server's executable. */
  readonly executable: string;
};

/**
 * How a command reaches a running server. An installed server's file has no witness if the user cannot see its
 * processes.
 */
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

/** Returns the content of the presence file; `undefined` if there is none or it is damaged. */
export function readPresence(directory: string): Presence | undefined {
  const text = readPrivate(presencePath(directory));
  if (text === undefined) return undefined;
  let value: Unchecked<Presence> | null;
  try {
    value = JSON.parse(text) as Unchecked<Presence> | null;
  } catch {
    return undefined; // truncated by a full disk
  }
  return value !== null && isPresence(value) ? value : undefined;
}

type Unchecked<T> = { readonly [K in keyof T]?: unknown };

/** Returns whether a value has the shape that a server writes. */
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
