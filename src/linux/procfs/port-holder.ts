/**
 * Who holds a TCP port on this machine, by the kernel's tables: for an error message that a person can act on.
 *
 * Limits: an ordinary user sees the descriptors of their own processes only; the holder is then known by its uid.
 * Source: proc(5), /proc/net/tcp
 * @module
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The holder of a port as far as this user may see it. */
export type Holder = { readonly uid: number; readonly pid?: number; readonly name?: string };

/** The listening (or, failing that, any bound) socket on the port in one table of the kernel. */
export function findSocket(table: string, port: number): { uid: number; inode: string } | undefined {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(suffix) === true);
  const row = rows.find((fields) => fields[3] === '0A') ?? rows.find((fields) => fields[9] !== '0');
  return row === undefined ? undefined : { uid: Number(row[7]), inode: row[9] ?? '0' };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // absent (no IPv6) or ended meanwhile
  }
}

function owner(inode: string): number | undefined {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if (readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`) return Number(pid);
      }
    } catch {
      continue; // another user's process, or one that ended meanwhile
    }
  }
  return undefined;
}

/** The holder of a TCP port, or `undefined` when the tables show none. */
export function portHolder(port: number): Holder | undefined {
  const found = findSocket(readText('/proc/self/net/tcp'), port) ?? findSocket(readText('/proc/self/net/tcp6'), port);
  if (found === undefined) return undefined;
  const pid = owner(found.inode);
  if (pid === undefined) return { uid: found.uid };
  // Process names are chosen by strangers: nothing but printable ASCII reaches the terminal.
  const name = readText(`/proc/${pid}/comm`)
    .trim()
    .replace(/[^\x20-\x7e]/g, '?');
  return { uid: found.uid, pid, name };
}
