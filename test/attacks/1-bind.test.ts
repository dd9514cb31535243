/**
 * Layer 1: the socket itself, against the kernel.
 * Needs root: other users and namespaces hold the port.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  adoptActivatedSocket,
  bindLoopback,
  reserveIpv6,
  verifyLoopback,
} from '../../src/layers/1-loopback/listener.ts';
import { bindUnix } from '../../src/layers/1-loopback/unix-listener.ts';
import {
  bindSocket,
  closeDescriptor,
  families,
  inet6Loopback,
  inetAddress,
  listenSocket,
  makeSocket,
  makeSocketPair,
  setSocketOption,
  socketName,
  socketOption,
  socketOptions,
} from '../../src/linux/sockets/socket.ts';
import { openState } from '../../src/state/state-directory.ts';
import { rawRequest, requestText, sleep, startGateway } from '../support/gateway.ts';
import { runAs } from '../support/identity.ts';

const refusal = (code: string) => (error: Error & { code?: string }) => error.code === code;

/** Lets a user try to take a port, with every option that shares (SO_REUSEADDR is libuv's own default). */
function squat(address: string, port: number, uid: number): string {
  const program = `
    const tried = [];
    const next = (reusePort) => { const s = require('node:net').createServer().listen({ host: process.argv[1], port: Number(process.argv[2]), reusePort });
      s.on('error', (e) => { tried.push(e.code); if (reusePort) console.log([...new Set(tried)].join()); else next(true); }); s.on('listening', () => { console.log('bound'); process.exit(); }); };
    next(false);`;
  return runAs(uid, program, address, String(port));
}
const addressInUse = 'EADDRINUSE';

test('L1-14 the socket is on 127.0.0.1 and no other address of the machine answers', async () => {
  const listener = bindLoopback(0);
  const six = reserveIpv6(listener.port);
  try {
    assert.deepEqual(socketName(listener.fd), { family: 'inet', address: '127.0.0.1', port: listener.port });
    assert.equal(socketOption(listener.fd, socketOptions.reusePort), 0);
    const others = Object.values(networkInterfaces())
      .flat()
      .filter((each) => each !== undefined)
      .map((each) => (each.scopeid ? `${each.address}%${each.scopeid}` : each.address))
      .filter((address) => address !== '127.0.0.1');
    for (const address of [...new Set([...others, '127.0.0.2', '::1'])]) {
      const answer = await rawRequest(listener.port, 'x', { host: address, quietMs: 100 });
      assert.ok(answer.reset && answer.text === '', `${address} answers`);
    }
  } finally {
    closeDescriptor(listener.fd);
    if (six.fd !== undefined) closeDescriptor(six.fd);
  }
});

test('L1-14 a socket that is not a TCP listener on 127.0.0.1 alone is refused, however it was made', () => {
  const made: number[] = [];
  const tcp = (address: readonly [number, number, number, number], prepare?: (fd: number) => void, listen = true) => {
    const fd = makeSocket(families.inet);
    made.push(fd);
    prepare?.(fd);
    bindSocket(fd, inetAddress(address, 0));
    if (listen) listenSocket(fd, 1);
    return fd;
  };
  const six = makeSocket(families.inet6);
  made.push(six);
  bindSocket(six, inet6Loopback(0));
  listenSocket(six, 1);
  const pair = makeSocketPair();
  made.push(...pair);
  try {
    const lan = Object.values(networkInterfaces())
      .flat()
      .find((each) => each?.family === 'IPv4' && !each.internal)?.address;
    for (const fd of [
      tcp([0, 0, 0, 0]),
      tcp([127, 0, 0, 2]),
      ...(lan === undefined ? [] : [tcp(lan.split('.').map(Number) as [number, number, number, number])]),
      six,
      pair[0],
      tcp([127, 0, 0, 1], undefined, false),
      tcp([127, 0, 0, 1], (each) => setSocketOption(each, socketOptions.reusePort, 1)),
      999,
    ]) {
      assert.throws(() => verifyLoopback(fd), refusal('L1_SOCKET_FOREIGN'));
    }
    const good = tcp([127, 0, 0, 1]);
    assert.equal(verifyLoopback(good).fd, good);
  } finally {
    for (const fd of made) closeDescriptor(fd);
  }
});

test('L1-14 a socket is adopted only when exactly one was handed over, to this process, and it is ours in form', () => {
  const self = String(process.pid);
  assert.equal(adoptActivatedSocket({ fds: undefined, pid: undefined }, process.pid), undefined);
  for (const wrong of [
    { fds: '1', pid: undefined },
    { fds: undefined, pid: self },
    { fds: '1', pid: '1' },
    { fds: '2', pid: self },
    { fds: '0', pid: self },
    { fds: '01', pid: self },
    { fds: '1', pid: ` ${self}` },
  ]) {
    assert.throws(() => adoptActivatedSocket(wrong, process.pid), refusal('L1_SOCKET_FOREIGN'), JSON.stringify(wrong));
  }
  // Descriptor 3 of this process is no listener on 127.0.0.1.
  assert.throws(() => adoptActivatedSocket({ fds: '1', pid: self }, process.pid), refusal('L1_SOCKET_FOREIGN'));
});

test('L1-33 a server that systemd hands a socket on 0.0.0.0 refuses to start', () => {
  const program =
    "const { spawnSync } = require('node:child_process'); const s = require('node:net').createServer().listen(0, '0.0.0.0', () => { const r = spawnSync('/bin/sh', ['-c', 'LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --state \"$1\"', ...process.argv.slice(1)], { stdio: ['ignore', 'pipe', 'pipe', s._handle.fd], encoding: 'utf8', timeout: 20000 }); console.log(JSON.stringify({ status: r.status, words: r.stderr })); process.exit(); });";
  const state = mkdtempSync(join(tmpdir(), 'kwyre-state-'));
  const ran = spawnSync(process.execPath, ['-e', program, join(import.meta.dirname, '..', '..', 'kwyre'), state], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  rmSync(state, { recursive: true, force: true });
  const { status, words } = JSON.parse(ran.stdout) as { status: number; words: string };
  assert.equal(status, 11, words);
  assert.match(words, /bound to 0\.0\.0\.0/);
});

test('L1-33 a gateway that is handed a socket on 0.0.0.0 (a wrong socket unit) refuses to serve', async () => {
  const fd = makeSocket(families.inet);
  bindSocket(fd, inetAddress([0, 0, 0, 0], 0));
  listenSocket(fd, 1);
  const name = socketName(fd);
  assert.ok(name.family === 'inet');
  await assert.rejects(startGateway({ listenerFd: fd, port: name.port }), /L1_SOCKET_FOREIGN/);
});

test('L1-17 nobody shares or takes the port, and a taken port fails by the name of its holder', async () => {
  const listener = bindLoopback(0);
  try {
    for (const uid of [0, 12345])
      for (const address of ['127.0.0.1', '0.0.0.0'])
        assert.equal(squat(address, listener.port, uid), addressInUse, `${address} as ${uid}`);
    assert.throws(() => bindLoopback(listener.port), refusal('L1_PORT_TAKEN'));
  } finally {
    closeDescriptor(listener.fd);
  }
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  assert.throws(
    () => bindLoopback(port),
    (error: Error & { code?: string; remedy?: string }) => {
      assert.equal(error.code, 'L1_PORT_TAKEN');
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port} is in use by pid ${process.pid} \\(.+\\)`));
      assert.match(error.remedy ?? '', /serve --port \d+/);
      return true;
    },
  );
  other.close();
});

test('L1-17 a squatter that shares its port (SO_REUSEPORT) does not get us to share it', () => {
  const squatter = spawn(
    process.execPath,
    [
      '-e',
      "const s = require('node:net').createServer().listen({ host: '127.0.0.1', port: 0, reusePort: true }, () => console.log(s.address().port)); setTimeout(() => process.exit(), 20000)",
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  return new Promise<undefined>((resolve, reject) => {
    squatter.stdout.once('data', (chunk: Buffer) => {
      try {
        assert.throws(() => bindLoopback(Number(chunk.toString())), refusal('L1_PORT_TAKEN'));
        resolve(undefined);
      } catch (error) {
        reject(error instanceof Error ? error : new Error('not refused'));
      } finally {
        squatter.kill();
      }
    });
  });
});

test('L1-34 [::1] on our port is taken without listening: no squatter, nothing in ss -ltn', async () => {
  const listener = bindLoopback(0);
  const hold = reserveIpv6(listener.port);
  try {
    assert.equal(hold.reason, '');
    for (const uid of [0, 12345])
      for (const address of ['::1', '::'])
        assert.equal(squat(address, listener.port, uid), addressInUse, `${address} as ${uid}`);
    const suffix = `:${listener.port.toString(16).toUpperCase().padStart(4, '0')}`;
    const listening = ['tcp', 'tcp6'].flatMap((table) =>
      readFileSync(`/proc/net/${table}`, 'latin1')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter((f) => f[3] === '0A' && f[1]?.endsWith(suffix)),
    );
    assert.deepEqual(
      listening.map((f) => f[1]),
      [`0100007F${suffix}`],
    );
    const answer = await rawRequest(listener.port, 'x', { host: '::1' });
    assert.ok(answer.reset, 'a client that tries ::1 is refused at once and falls back to 127.0.0.1');
  } finally {
    closeDescriptor(listener.fd);
    if (hold.fd !== undefined) closeDescriptor(hold.fd);
  }
});

test('L1-34 a squatter who was first refuses our start by name', async () => {
  const other = createServer().listen(0, '::1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  assert.throws(
    () => reserveIpv6(port),
    (error: Error & { code?: string }) =>
      error.code === 'L1_PORT_TAKEN' &&
      error.message.includes(`[::1]:${port}`) &&
      error.message.includes(String(process.pid)),
  );
  other.close();
});

test('L1-18 the Unix socket is 0600 in a 0700 folder, and another user gets nothing', async () => {
  const home = mkdtempSync(join(tmpdir(), 'kwyre-unix-'));
  chmodSync(home, 0o755);
  const path = join(home, 'run', 'kwyre.sock');
  const gateway = await startGateway({ unixPath: path });
  try {
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(home, 'run')).mode & 0o777, 0o700);
    const connect =
      "require('node:net').connect(process.argv[1]).on('connect', () => { console.log('in'); process.exit(); }).on('error', (e) => console.log(e.code))";
    assert.equal(runAs(12345, connect, path), 'EACCES');
    assert.equal(runAs(0, connect, path), 'in');
    assert.equal((await rawRequest(path, requestText(gateway, { host: 'localhost' }))).status, 200);
    assert.equal(
      (await rawRequest(path, requestText(gateway, { host: 'localhost', token: false }))).status,
      401,
      'the token is asked for here too',
    );
    assert.equal((await rawRequest(path, requestText(gateway, { host: 'evil.example' }))).status, 403);
    assert.equal(
      (await rawRequest(path, requestText(gateway, { host: 'localhost', headers: ['Origin: http://evil.example'] })))
        .status,
      403,
    );
    assert.equal(
      (await rawRequest(gateway.port, requestText(gateway, { host: 'localhost' }))).status,
      403,
      'over TCP the port must be named',
    );
  } finally {
    await gateway.stop();
    rmSync(home, { recursive: true });
  }
});

test('L1-18 nothing but a dead socket of ours is replaced, and no unsafe folder is used', () => {
  const home = mkdtempSync(join(tmpdir(), 'kwyre-unix-'));
  const made: number[] = [];
  try {
    const path = join(home, 's');
    const first = bindUnix(path);
    made.push(first.fd);
    assert.throws(() => bindUnix(path), refusal('L1_SOCKET_TAKEN'), 'a living one');
    closeDescriptor(made.pop()!);
    const second = bindUnix(path);
    made.push(second.fd);
    first.remove();
    assert.ok(statSync(path).isSocket(), 'the former owner does not remove the new one');
    second.remove();
    assert.throws(() => statSync(path));
    writeFileSync(path, 'precious');
    assert.throws(() => bindUnix(path), refusal('L1_SOCKET_TAKEN'), 'a file');
    assert.equal(readFileSync(path, 'utf8'), 'precious');
    symlinkSync('/tmp/elsewhere', join(home, 'link'));
    assert.throws(() => bindUnix(join(home, 'link')), refusal('L1_SOCKET_TAKEN'), 'a link');
    chmodSync(home, 0o755);
    assert.throws(() => bindUnix(join(home, 'x')), refusal('L1_SOCKET_UNSAFE'));
    chmodSync(home, 0o700);
    chownSync(home, 12345, 12345);
    assert.throws(() => bindUnix(join(home, 'x')), refusal('L1_SOCKET_UNSAFE'));
    assert.throws(() => bindUnix(`/tmp/${'x'.repeat(120)}`), refusal('L1_SOCKET_PATH'));
    assert.throws(() => bindUnix('/proc/nonexistent/s'), refusal('L1_SOCKET_PATH'), 'a folder that cannot be made');
    assert.throws(
      () => bindUnix(join(home, 'link', 'file', 's')),
      refusal('L1_SOCKET_PATH'),
      'a folder behind a dead link',
    );
    assert.throws(() => openState('/proc/nonexistent/s'), refusal('STATE_UNWRITABLE'), 'the same of a state folder');
    const deep = join(home, 'a', 'b', 's');
    made.push(bindUnix(deep).fd);
    assert.equal(statSync(join(home, 'a')).mode & 0o777, 0o700);
  } finally {
    for (const fd of made) closeDescriptor(fd);
    rmSync(home, { recursive: true });
  }
});

test('L1-16 a gateway process has one listening socket and opens no other', async () => {
  const gateway = await startGateway();
  try {
    await rawRequest(gateway.port, requestText(gateway));
    await sleep(50);
    const inodes = new Set(
      spawnSync('find', [`/proc/${gateway.pid}/fd`, '-lname', 'socket:*', '-printf', '%l\n'], { encoding: 'utf8' })
        .stdout.trim()
        .split('\n')
        .map((link) => /\d+/.exec(link)?.[0]),
    );
    // The listener is in the namespace that it was made in, whatever else would be in the gateway's own.
    const tables = [gateway.pid, process.pid].flatMap((pid) =>
      ['tcp', 'tcp6', 'udp', 'udp6', 'raw', 'raw6'].map((table) => [pid, table] as const),
    );
    const listening = tables.flatMap(([pid, table]) =>
      readFileSync(`/proc/${pid}/net/${table}`, 'latin1')
        .split('\n')
        .slice(1)
        .map((line) => line.trim().split(/\s+/))
        .filter((f) => inodes.has(f[9]) && (f[3] === '0A' || !table.startsWith('tcp')))
        .map((f) => `${table} ${f[1]}`),
    );
    assert.deepEqual(
      [...new Set(listening)],
      [`tcp 0100007F:${gateway.port.toString(16).toUpperCase().padStart(4, '0')}`],
    );
  } finally {
    await gateway.stop();
  }
});
