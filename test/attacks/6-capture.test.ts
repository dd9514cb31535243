/**
 * Captures of loopback traffic by real tools, and the ordinary users of packet sockets that are none.
 * Needs root: captures and watches processes of other users.
 * @module
 */
import assert from 'node:assert/strict';
import { copyFileSync, chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ordinaryUid, start, startWatched, use } from '../support/watchdog.ts';

/** tcpdump under a name that no list has. */
function renamedTcpdump(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-capture-'));
  t.after(() => {
    rmSync(folder, { recursive: true });
  });
  const path = join(folder, 'backup');
  copyFileSync('/usr/bin/tcpdump', path);
  chmodSync(path, 0o755);
  return path;
}

/** A packet socket by hand: `python3` is on every machine that runs these tests. */
function packetSocket(program: string): string[] {
  return ['python3', '-c', `import socket, time\n${program}\ntime.sleep(30)`];
}

for (const [who, uid] of [
  ['root', undefined],
  ['an ordinary user', ordinaryUid],
] as const) {
  for (const device of ['lo', 'any']) {
    test(`L6-13 a renamed tcpdump on ${device}, against a server of ${who}`, async (t) => {
      const path = renamedTcpdump(t);
      const watched = use(t, await startWatched(uid === undefined ? {} : { uid }));
      const tcpdump = use(t, start([path, '-i', device, '-w', '/dev/null']));
      const violation = await watched.next('violation');
      assert.equal(violation.detector, 'capture');
      assert.equal(await watched.ended, 16);
      if (uid === undefined) assert.equal(violation.pid, tcpdump.pid, 'root can tell whose socket it is');
    });
  }
}

test('L6-13 a packet socket for IP alone, bound to the loopback interface', async (t) => {
  const watched = use(t, await startWatched());
  use(
    t,
    start(
      packetSocket(
        "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)); s.bind(('lo', 0x0800))",
      ),
    ),
  );
  assert.equal((await watched.next('violation')).detector, 'capture');
});

for (const protocol of ['0x0800', '0x86dd']) {
  test(`L6-13 a packet socket for one protocol of ours (${protocol}) on every interface`, async (t) => {
    const watched = use(t, await startWatched());
    const capture = use(
      t,
      start(packetSocket(`s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(${protocol}))`)),
    );
    const violation = await watched.next('violation');
    assert.deepEqual([violation.detector, violation.pid], ['capture', capture.pid]);
  });
}

test('L6-13 a raw socket for TCP, which gets a copy of every segment', async (t) => {
  const watched = use(t, await startWatched());
  use(t, start(packetSocket('s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 6)')));
  assert.equal((await watched.next('violation')).detector, 'capture');
});

test('L6-22 L6-11 ordinary neighbours: packet sockets of their own protocol, servers, clients, TIME_WAIT, raw ICMP', async (t) => {
  const watched = use(t, await startWatched());
  const neighbours = [
    'a = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x888e))', // Wi-Fi keys
    "b = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0); b.bind((sorted(n for _, n in socket.if_nameindex() if n != 'lo')[0], 0x0800)) if len(socket.if_nameindex()) > 1 else None", // DHCP
    'c = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88cc))', // LLDP
    'd = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)', // ping
    'e = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); e.bind((0, 0))', // ip monitor
  ].join('\n');
  use(t, start(packetSocket(neighbours)));
  const server = createServer((_request, response) => response.end('ok')).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  use(t, start([process.execPath, '-e', 'require("http").createServer().listen(0, "127.0.0.1")']));
  use(t, start([process.execPath, '--inspect=127.0.0.1:0', '-e', 'setInterval(() => {}, 1000)']));
  const end = Date.now() + 5000;
  for (let i = 0; i < 100 && Date.now() < end; i += 1) {
    await (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).text();
    await sleep(30);
  }
  assert.deepEqual(
    watched.said.filter((one) => one.type === 'finding' || one.type === 'violation'),
    [],
  );
});
