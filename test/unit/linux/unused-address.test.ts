/**
 * Addresses and ports of the machine, from the kernel's tables.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { closedPort, localAddresses, machineAddress } from '../../../src/linux/procfs/unused-address.ts';

const trie = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.0.0/24 2 0 2
        |-- 10.1.0.7
           /32 host LOCAL
        |-- 10.1.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
`;

test('local addresses, each once; others are preferred to loopback', () => {
  assert.deepEqual(localAddresses(trie + trie), [
    [10, 1, 0, 7],
    [127, 0, 0, 1],
  ]);
  assert.deepEqual(machineAddress(trie), [10, 1, 0, 7]);
  assert.deepEqual(machineAddress(''), [127, 0, 0, 1]);
});

test('they are the addresses that this machine has', () => {
  const own = Object.values(networkInterfaces())
    .flat()
    .filter((entry) => entry?.family === 'IPv4')
    .map((entry) => entry.address);
  const read = localAddresses(readFileSync('/proc/self/net/fib_trie', 'latin1')).map((address) => address.join('.'));
  for (const address of own) assert.ok(read.includes(address), address);
});

test('a port that a socket has is not closed', async () => {
  const line = (port: number) =>
    `head\n   0: 0100007F:${port.toString(16).toUpperCase()} 00000000:0000 0A 0:0 0:0 0  1000        0 1 1 0\n`;
  assert.equal(closedPort([]), 65_534);
  assert.equal(closedPort([line(65_534), line(65_533)]), 65_532);
  const server = createServer().listen(65_534, '127.0.0.1');
  await Promise.race([once(server, 'listening'), once(server, 'error')]);
  assert.notEqual(
    closedPort([readFileSync('/proc/self/net/tcp', 'latin1')]),
    (server.address() as AddressInfo | null)?.port,
  );
  server.close();
});
