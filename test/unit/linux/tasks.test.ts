/**
 * Parsers of processes and socket tables on real entries.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { loopbackHex, parseSockets, socketTables } from '../../../src/linux/procfs/net-tables.ts';
import { asShown, fromShown } from '../../../src/linux/procfs/escaped-path.ts';
import {
  memoryNamed,
  parseCodeMappings,
  parseStat,
  parseStatus,
  parseThread,
  socketInode,
} from '../../../src/linux/procfs/tasks.ts';

const vectors = join(import.meta.dirname, '..', '..', 'vectors', 'proc');
const read = (name: string): string => readFileSync(join(vectors, name), 'latin1');

test('stat: a name with blanks, parentheses and a line feed is one field', () => {
  const line =
    '4711 (a) R 1 (\n b) T 77 4711 9508 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 1234103 3133440 382 18446744073709551615\n';
  assert.deepEqual(parseStat(line), {
    pid: 4711,
    name: 'a) R 1 (\n b',
    state: 'T',
    parent: 77,
    kernel: false,
    threads: 1,
    started: 1234103,
  });
});

test('stat: a kernel thread is told by its flag', () => {
  assert.equal(
    parseStat('2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0 18446744073709551615\n')?.kernel,
    true,
  );
});

test('stat and status: anything else than their form is refused, not guessed', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (text) => {
      parseStat(text);
      assert.ok(parseStatus(text) === undefined || text.includes('TracerPid'));
    }),
  );
  assert.equal(parseStat(''), undefined);
  assert.equal(parseStatus(''), undefined);
});

test('status: a process under gdb, as recorded', () => {
  const status = parseStatus(read('status-traced.txt'))!;
  assert.equal(status.state, 't');
  assert.ok(status.tracer > 0);
  assert.deepEqual(parseThread(read('status-traced.txt')), { state: 't', tracer: status.tracer });
});

test('status: an ordinary process, as recorded', () => {
  const status = parseStatus(read('status-plain.txt'))!;
  assert.equal(status.tracer, 0);
  assert.equal(status.uids.length, 4);
});

test('links: sockets and memory, and nothing that only looks like them', () => {
  assert.equal(socketInode('socket:[1684]'), 1684);
  assert.equal(socketInode('pipe:[1684]'), undefined);
  assert.deepEqual(memoryNamed('/proc/812/mem'), { id: 812, tail: '/812/mem' });
  assert.deepEqual(memoryNamed('/proc/812/task/815/mem'), { id: 812, tail: '/812/task/815/mem' });
  assert.equal(memoryNamed('/mnt/other-proc/812/mem')?.id, 812);
  assert.equal(memoryNamed('/home/a/812/mem')?.id, 812, 'a name is all that it is');
  assert.equal(memoryNamed('/proc/812/memory'), undefined);
  assert.equal(memoryNamed('/proc/meminfo'), undefined);
});

test('maps: files mapped as code, each once, those without a name left out', () => {
  const maps = [
    '55e0-55f0 r--p 00000000 fe:00 77 /usr/bin/node',
    '55f0-5600 r-xp 00001000 fe:00 77 /usr/bin/node',
    '7f00-7f10 r-xp 00000000 00:00 0 ',
    '7f10-7f20 rwxp 00000000 00:01 9 /memfd:evil (deleted)',
    '7f20-7f30 r-xp 00000000 00:01 10 /memfd:evil (deleted)',
    '7fff-8000 r-xp 00000000 00:00 0 [vdso]',
    '',
  ].join('\n');
  assert.deepEqual(parseCodeMappings(maps), [
    { path: '/usr/bin/node', device: 0xfe00, inode: 77 },
    { path: '/memfd:evil (deleted)', device: 1, inode: 9 },
    { path: '/memfd:evil (deleted)', device: 1, inode: 10 },
  ]);
});

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

test('paths: what the kernel shows is compared byte for byte, and read back as it is on disk', () => {
  const path = '/tmp/Büro 文件\n 1/node';
  assert.equal(fromShown(asShown(path)), path);
  assert.ok(!asShown(path).includes('\n'));
  const maps = Buffer.from(
    `7f0-7f1 r-xp 00000000 08:01 5 ${' '.repeat(20)}${path.replace('\n', '\\012')}\n`,
    'utf8',
  ).toString('latin1');
  assert.equal(parseCodeMappings(maps)[0]?.path, asShown(path));
  const unix = Buffer.from(
    '0000000000000000: 00000002 00000000 00010000 0001 01 94811 /tmp/Schlüssel/s  1 \n',
    'utf8',
  ).toString('latin1');
  assert.equal(
    parseSockets('unix', `Num\n${unix}`)[0]?.local,
    asShown('/tmp/Schlüssel/s  1 '),
    'blanks are part of a name',
  );
});
