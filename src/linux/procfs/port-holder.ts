/**
 * Finds the process that holds a TCP port on this machine, for error messages that the user can act on.
 *
 * Limits: ordinary users see only their own processes' descriptors; for other processes, only the uid is known.
 * Source: proc(5), /proc/net/tcp
 * Proof:  test/unit/linux/port-holder.test.ts
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';
import { socketInodes } from './descriptors.ts';
import type { SocketRow } from './net-tables.ts';
import { listenersOn, parseSockets, portOf } from './net-tables.ts';

/** The holder of a port, as far as this user may see it. */
type Holder = { readonly uid: number; readonly pid?: number; readonly name?: string };

/** Returns the socket listening on a port, or else any socket bound to it, from one TCP table. @internal */
export function findSocket(table: string, port: number): SocketRow | undefined {
  const [listener] = listenersOn(port, [table]);
  return listener ?? parseSockets('tcp', table).find(({ local, inode }) => portOf(local) === port && inode !== 0);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // no IPv6, or the process has ended
  }
}

function holderOf(inode: number): number | undefined {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => socketInodes(pid).includes(inode));
}

/** Returns the holder of a TCP port, or `undefined` if the tables list no socket on it. */
export function portHolder(port: number): Holder | undefined {
  const socket = findSocket(readText('/proc/self/net/tcp'), port) ?? findSocket(readText('/proc/self/net/tcp6'), port);
  if (socket === undefined) return undefined;
  const pid = holderOf(socket.inode);
  if (pid === undefined) return { uid: socket.uid };
  // A process chooses its own name, so only printable ASCII reaches the terminal.
  const name = readText(`/proc/${pid}/comm`)
    .trim()
    .replace(/[^\x20-\x7e]/g, '?');
  return { uid: socket.uid, pid, name };
}
