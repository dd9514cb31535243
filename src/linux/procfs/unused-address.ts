/**
 * Finds an address of this machine and an unused port in the kernel's tables, without creating a socket.
 *
 * Source: /proc/net/fib_trie, /proc/net/tcp
 * Proof:  test/unit/linux/unused-address.test.ts
 * @module
 */
import { parseSockets, portOf } from './net-tables.ts';

/** The four bytes of an IPv4 address. */
export type Address = readonly [number, number, number, number];

const loopbackAddress: Address = [127, 0, 0, 1];

/** Returns every IPv4 address of the machine, loopback included, from the text of `fib_trie`. */
export function localAddresses(trie: string): Address[] {
  const found = new Map<string, Address>();
  let last = '';
  for (const line of trie.split('\n')) {
    const leaf = /\|-- (\d+\.\d+\.\d+\.\d+)$/.exec(line);
    if (leaf !== null) last = leaf[1] ?? '';
    else if (/^\s+\/32 host LOCAL$/.test(line)) {
      const [a = 0, b = 0, c = 0, d = 0] = last.split('.').map(Number);
      found.set(last, [a, b, c, d]);
    }
  }
  return [...found.values()];
}

/** Returns an address of the machine that other machines can reach, or else loopback. */
export function machineAddress(trie: string): Address {
  return localAddresses(trie).find(([first]) => first !== 127) ?? loopbackAddress;
}

/** Returns a port at the end of the dynamic range that no socket in the TCP or UDP tables uses. */
export function closedPort(tables: readonly string[]): number {
  const used = new Set(tables.flatMap((text) => parseSockets('tcp', text).map(({ local }) => portOf(local))));
  let port = 65_534;
  while (port > 64_000 && used.has(port)) port -= 1;
  return port;
}
