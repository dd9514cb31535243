/**
 * What no local user may bring about: that a server ends, or takes nothing more, for a name that he chose.
 *
 * Each of these ended or closed a server once.
 * Needs root: innocents of root's and of other users beside watched processes.
 * @module
 */
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeState } from '../support/approved.ts';
import { asUser } from '../support/identity.ts';
import { call, startServer, until } from '../support/server.ts';
import type { Watched } from '../support/watchdog.ts';
import { ordinaryUid, start, startWatched, use } from '../support/watchdog.ts';
import { assertWithin } from '../support/time-bounds.ts';

const stranger = 12_399;
const python = '/usr/bin/python3';

/** A folder that everybody may write to. */
function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-innocent-'));
  chmodSync(folder, 0o777);
  t.after(() => {
    rmSync(folder, { recursive: true });
  });
  return folder;
}

/** After some scans nothing was found that has a consequence. */
async function ignored(watched: Watched, ms = 1500): Promise<void> {
  await sleep(ms);
  assert.deepEqual(
    watched.said.filter(
      (one) =>
        one.type === 'violation' || one.type === 'level' || (one.type === 'finding' && one.relation !== 'stranger'),
    ),
    [],
  );
}

test("L6-10 root reads a stranger's file that is called ENGINEPID/mem", async (t) => {
  const folder = folderOf(t);
  const watched = use(t, await startWatched());
  const path = join(folder, 'proc', String(watched.target));
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'mem'), 'nothing');
  use(t, start(['tail', '-f', join(path, 'mem')]));
  await ignored(watched);
});

for (const [who, uid] of [
  ['a stranger', stranger],
  ['root', 0],
] as const) {
  test(`L6-10 ${who} opens the memory of the engine as a path, through which nothing is read`, async (t) => {
    const watched = use(t, await startWatched());
    const opener = [
      python,
      '-c',
      `import os, time; os.open('/proc/${watched.target}/mem', os.O_PATH); print('open', flush=True); time.sleep(30)`,
    ];
    const process = use(t, start(uid === 0 ? opener : asUser(uid, opener)));
    await ignored(watched);
    assert.equal(process.output(), 'open\n');
  });
}

test('L6-10 root reads the memory of a process in a container that has our number there', async (t) => {
  const watched = use(t, await startWatched());
  const inside = `import os, time\nopen('/proc/sys/kernel/ns_last_pid', 'w').write('${watched.target - 1}')\npid = os.fork()\nif pid == 0: time.sleep(30)\nos.open(f'/proc/{pid}/mem', os.O_RDONLY); print(pid, flush=True); time.sleep(30)`;
  const process = use(
    t,
    start(['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', 'python3', '-c', inside]),
  );
  await ignored(watched);
  assert.equal(process.output(), `${watched.target}\n`);
});

for (const profile of ['person', 'installed'] as const) {
  test(`L6-10 ${profile}: root's server whose title says what a client asked for`, async (t) => {
    const watched = use(t, await startWatched({ profile }));
    use(t, start(['bash', '-c', 'exec -a "proftpd: RETR /pub/charles" sleep 30']));
    use(t, start(['bash', '-c', 'exec -a "/srv/www/wireshark" sleep 30']));
    use(t, start(['perl', '-e', '$0 = "gdb"; sleep 30']));
    await ignored(watched);
  });

  test(`L6-10 ${profile}: programs of root and of the same user that are called as other programs than the tool are`, async (t) => {
    const folder = folderOf(t);
    const watched = use(t, await startWatched({ profile }));
    for (const name of ['burp', 'cdb', 'kd', 'charles']) {
      copyFileSync('/bin/sleep', join(folder, name));
      use(t, start([join(folder, name), '30']));
      use(t, start(asUser(ordinaryUid, [join(folder, name), '30'])));
    }
    await ignored(watched);
  });
}

test('L6-08 processes with megabytes of arguments, and a crowd of new ones, do not keep the watchdog from its scans', async (t) => {
  const watched = use(t, await startWatched());
  const crowd = `import subprocess, time
children = [subprocess.Popen(['/usr/bin/perl', '-e', 'sleep 15'] + ['x' * 131000] * 14, stdin=-3, stdout=-3, stderr=-3) for _ in range(25)]
print('there', flush=True)
time.sleep(15)`;
  const process = use(t, start([python, '-c', crowd]));
  await until('the crowd', () => process.output() === 'there\n');
  const scan = async () =>
    /^scan (\d+), .* took ([\d.]+) ms/.exec((await watched.checks()).checks[0]?.evidence ?? '') ?? [];
  const [, before] = await scan();
  await sleep(2000);
  const [, after, tookMs] = await scan();
  assert.ok(Number(after) > Number(before), 'scans go on');
  assertWithin('a scan of a crowd', Number(tookMs), 1000);
  await ignored(watched, 0);
});

/** Connects without a token, forges a row for what the server accepted, and does both again and again. */
const forger = (port: number) => `import re, socket, threading, time
kept = []
def rows():
    for line in open('/proc/net/tcp').read().split('\\n')[1:]:
        f = line.split()
        if len(f) > 9 and f[1] == '0100007F:%04X' % ${port} and f[3] == '01' and f[9] != '0': yield f[9]
def hammer(source):
    while True:
        try:
            s = socket.socket(); s.bind((source, 0)); s.connect(('127.0.0.1', ${port})); s.send(b'GET / HTTP/1.1\\r\\n'); time.sleep(0.001); s.close()
        except OSError: time.sleep(0.01)
for source in ('127.0.0.1', '127.0.0.2'): threading.Thread(target=hammer, args=(source,), daemon=True).start()
for _ in range(8):
    s = socket.socket(); s.connect(('127.0.0.1', ${port})); s.send(b'GET /health HTTP/1.1\\r\\n'); kept.append(s)
end = time.time() + 7
made = 0
while time.time() < end:
    for inode in rows():
        s = socket.socket(socket.AF_UNIX)
        try: s.bind('\\0\\n0000000000000000: 00000002 00000000 00010000 0001 01 %s' % inode); s.listen(); kept.append(s); made += 1
        except OSError: s.close()
    time.sleep(0.02)
print('forged', made > 0, flush=True)`;

test('L6-11 a stranger without a token forges rows of the table of Unix sockets, and comes from 127.0.0.2', async (t) => {
  using state = makeState();
  const server = await startServer({ state: state.path, args: ['--scan-interval', '250'] });
  t.after(() => {
    server.kill();
  });
  const process = use(t, start(asUser(stranger, [python, '-c', forger(server.port)])));
  await new Promise((resolve) => process.process.once('close', resolve));
  assert.equal(process.output(), 'forged True\n');
  assert.equal((await call(server, '/v1/models')).status, 200, server.output());
  assert.doesNotMatch(server.output(), /kwyre: watchdog/);
  assert.equal((await server.stop()).code, 0);
});

test('L6-11 clients that end their half of the connection and then reset it', async (t) => {
  using state = makeState();
  const server = await startServer({ state: state.path, args: ['--scan-interval', '250'] });
  t.after(() => {
    server.kill();
  });
  const gateway = server.pids()['gateway'] ?? 0;
  const body = JSON.stringify({
    model: 'guide',
    messages: [{ role: 'user', content: 'Tell me all about layer 5 and layer 6. '.repeat(60) }],
    max_tokens: 3000,
  });
  let dead = 0;
  for (let wave = 0; wave < 3; wave += 1) {
    const clients = Array.from({ length: 40 }, () => {
      const client = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true }, () => {
        client.end(
          `POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nAuthorization: Bearer ${server.token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        );
      });
      client.on('error', () => undefined);
      return client;
    });
    await sleep(900);
    for (const client of clients) client.resetAndDestroy();
    for (let look = 0; look < 6; look += 1) {
      await sleep(100);
      dead = Math.max(dead, deadSockets(gateway));
    }
  }
  assert.ok(dead > 0, 'the gateway held a socket that is in no table');
  assert.equal((await call(server, '/v1/models')).status, 200, server.output());
  assert.doesNotMatch(server.output(), /kwyre: watchdog/);
  assert.equal((await server.stop()).code, 0);
});

/** How many sockets of a process are in no table of TCP and of Unix sockets. */
function deadSockets(pid: number): number {
  const tables = ['tcp', 'unix', 'netlink']
    .map((name) => readFileSync(`/proc/net/${name}`, 'latin1'))
    .join('\n')
    .split(/\s+/);
  const known = new Set(tables);
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      return inode !== undefined && !known.has(inode);
    } catch {
      return false; // closed meanwhile
    }
  }).length;
}
