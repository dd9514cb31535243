/**
 * Socket tables: recorded ones, arbitrary text, listeners on a port.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { asShown } from '../../../src/linux/procfs/escaped-path.ts';
import {
  listenersOn,
  loopbackHex,
  loopbackListener,
  parseSockets,
  socketTables,
} from '../../../src/linux/procfs/net-tables.ts';

const vectors = join(import.meta.dirname, '..', '..', 'vectors', 'proc');
const read = (name: string): string => readFileSync(join(vectors, name), 'latin1');

test('tables: a real listener, capture and pair, as recorded', () => {
  const tcp = parseSockets('tcp', read('net-tcp.txt'));
  const listener = tcp.find((row) => row.state === 10);
  assert.ok(listener !== undefined && listener.inode > 0);
  assert.ok(
    tcp.some((row) => row.state === 6 && row.inode === 0),
    'TIME_WAIT has no inode',
  );
  const packet = parseSockets('packet', read('net-packet.txt'));
  assert.ok(
    packet.some((row) => row.protocol === 3 && row.interface === 1),
    'tcpdump -i lo',
  );
  assert.ok(
    packet.some((row) => row.protocol === 3 && row.interface === 0),
    'tcpdump -i any',
  );
  assert.ok(
    packet.some((row) => row.protocol === 0x888e),
    'a protocol of its own',
  );
  const unix = parseSockets('unix', read('net-unix.txt'));
  assert.ok(unix.some((row) => row.local.startsWith('/')) && unix.some((row) => row.local === ''));
  assert.ok(
    parseSockets('netlink', read('net-netlink.txt')).every((row) => row.inode > 0),
    "the kernel's own ends are left out",
  );
  assert.equal(parseSockets('raw', read('net-raw.txt'))[0]?.protocol, 6);
});

test('tables: no text makes them throw, and short lines give no row', () => {
  fc.assert(
    fc.property(fc.constantFrom(...socketTables), fc.string({ maxLength: 400 }), (table, text) => {
      for (const row of parseSockets(table, text)) assert.equal(row.table, table);
    }),
  );
});

test("the address of our listener in the kernel's form", () => {
  assert.equal(loopbackHex(8000), '0100007F:1F40');
});

test('tables: the path of a Unix socket keeps its spaces and carriage returns', () => {
  const unix = Buffer.from(
    '0000000000000000: 00000002 00000000 00010000 0001 01 94811 /tmp/Schlüssel/s \r 1 \n',
    'utf8',
  ).toString('latin1');
  assert.equal(
    parseSockets('unix', `Num\n${unix}`)[0]?.local,
    asShown('/tmp/Schlüssel/s \r 1 '),
    'spaces are part of a name',
  );
});

test('listeners on a port: every address, no connections, no other ports', () => {
  const row = (local: string, state: string, inode: number) =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0\n`;
  const tcp = `head\n${row('00000000:1F40', '0A', 1)}${row('0100007F:1F40', '01', 2)}${row('0100007F:1F40', '0A', 3)}`;
  const tcp6 = `head\n${row(`${'0'.repeat(32)}:1F40`, '0A', 4)}${row(`${'0'.repeat(32)}:1F41`, '0A', 5)}`;
  assert.deepEqual(
    listenersOn(8000, [tcp, tcp6, '']).map(({ inode }) => inode),
    [1, 3, 4],
  );
  assert.equal(loopbackListener(8000, tcp)?.inode, 3);
  assert.equal(loopbackListener(8001, tcp), undefined);
});
