/**
 * An address of this machine and a port that nobody listens on, read from the kernel's tables: no socket is made.
 *
 * Source: /proc/net/fib_trie, /proc/net/tcp
 * Proof:  test/unit/linux/unused-address.test.ts
 * @module
 */

export type Address = readonly [number, number, number, number];

export const loopbackAddress: Address = [127, 0, 0, 1];

/** Every IPv4 address of the machine, loopback included. */
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

/** An address of the machine that others can reach, else loopback. */
export function machineAddress(trie: string): Address {
  return localAddresses(trie).find(([first]) => first !== 127) ?? loopbackAddress;
}

/** A port of the dynamic range's end that no socket of the tables has. */
export function closedPort(tables: readonly string[]): number {
  const taken = new Set(
    tables.flatMap((table) =>
      [...table.matchAll(/^ *\d+: [0-9A-F]+:([0-9A-F]{4}) /gm)].map(([, hex = '0']) => Number.parseInt(hex, 16)),
    ),
  );
  let port = 65_534;
  while (port > 64_000 && taken.has(port)) port -= 1;
  return port;
}
