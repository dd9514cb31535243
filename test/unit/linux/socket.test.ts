/**
 * Sockets by system call: what the kernel says about them afterwards.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync, readlinkSync, writeSync, readSync } from 'node:fs';
import { test } from 'node:test';
import { portHolder } from '../../../src/linux/procfs/port-holder.ts';
import {
  bindSocket,
  closeDescriptor,
  connectUnix,
  families,
  inetAddress,
  listenSocket,
  makeSocket,
  makeSocketPair,
  socketName,
  socketOption,
  socketOptions,
} from '../../../src/linux/sockets/socket.ts';

test('a socket pair carries bytes both ways and closes on exec', () => {
  const [a, b] = makeSocketPair();
  try {
    writeSync(a, 'there');
    writeSync(b, 'back');
    const got = Buffer.alloc(16);
    assert.equal(got.toString('latin1', 0, readSync(b, got)), 'there');
    assert.equal(got.toString('latin1', 0, readSync(a, got)), 'back');
    for (const fd of [a, b]) {
      assert.match(readlinkSync(`/proc/self/fd/${fd}`), /^socket:/);
      assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'), /flags:\s+02\d{6}/, 'O_CLOEXEC');
      assert.equal(socketName(fd).family, 'unix');
    }
  } finally {
    closeDescriptor(a);
    closeDescriptor(b);
  }
});

test('a listener is what it was asked to be, and its holder is found by port', () => {
  const fd = makeSocket(families.inet);
  try {
    assert.equal(socketOption(fd, socketOptions.acceptsConnections), 0);
    bindSocket(fd, inetAddress([127, 0, 0, 1], 0));
    listenSocket(fd, 4);
    assert.equal(socketOption(fd, socketOptions.acceptsConnections), 1);
    assert.equal(socketOption(fd, socketOptions.protocol), 6);
    const name = socketName(fd);
    assert.ok(name.family === 'inet' && name.address === '127.0.0.1' && name.port > 0);
    assert.equal(portHolder(name.port)?.pid, process.pid);
    const second = makeSocket(families.inet);
    assert.throws(() => bindSocket(second, inetAddress([127, 0, 0, 1], name.port)), {
      code: 'EADDRINUSE',
      call: 'bind',
    });
    closeDescriptor(second);
  } finally {
    closeDescriptor(fd);
  }
});

test("failures carry the call and the kernel's word", () => {
  assert.throws(() => socketName(9999), { code: 'EBADF', call: 'getsockname' });
  assert.throws(() => makeSocket(12345), { code: 'EAFNOSUPPORT', call: 'socket' });
  assert.throws(() => connectUnix('/nonexistent/socket'), { code: 'ENOENT', call: 'connect' });
});
