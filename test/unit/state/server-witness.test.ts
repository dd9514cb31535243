/**
 * Whose lock it is, and whether a presence file still means the process that wrote it.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findSocket } from '../../../src/linux/procfs/port-holder.ts';
import { lockFile } from '../../../src/linux/files/file-lock.ts';
import type { Presence } from '../../../src/state/presence.ts';
import { presencePath, readPresence } from '../../../src/state/presence.ts';
import { lockHolders, lockName, checkServer, makeWitness } from '../../../src/state/server-witness.ts';

test('locks: the holder of an exclusive one, by the columns of the kernel', () => {
  const locks =
    '1: FLOCK  ADVISORY  WRITE 21893 fe:00:14549618 0 EOF\n2: POSIX  ADVISORY  READ  5 fe:00:14549618 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 77 fe:00:14549618 0 EOF\n3: LEASE  ACTIVE    READ  9 fe:00:14549618 0 EOF\n4: POSIX  ADVISORY  WRITE 6 fe:00:1454961 0 EOF\n5: OFDLCK ADVISORY  WRITE -1 fe:00:14549618 0 EOF\n';
  assert.deepEqual(
    lockHolders(locks, 14_549_618),
    [21_893],
    'neither a reader, nor one who waits, nor a lease, nor another file',
  );
  assert.deepEqual(lockHolders('', 1), []);
});

test('a presence file of another shape names no server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-presence-'));
  const witness = { boot: '', pids: '', started: 1, lock: 1, listener: 1, executable: '' };
  const whole = { pid: 1, port: 8000, socket: null, model: 'guide', startedAt: '' };
  const read = (value: unknown) => {
    writeFileSync(presencePath(folder), JSON.stringify(value), { mode: 0o600 });
    return readPresence(folder);
  };
  try {
    assert.deepEqual(read(whole), whole);
    assert.deepEqual(read({ ...whole, witness }), { ...whole, witness });
    for (const value of [
      null,
      1,
      'x',
      [],
      {},
      { ...whole, pid: '1' },
      { ...whole, port: null },
      { ...whole, socket: 1 },
      { ...whole, model: undefined },
      { ...whole, witness: null },
      { ...whole, witness: 1 },
      { ...whole, witness: {} },
      { ...whole, witness: { ...witness, pids: 1 } },
      { ...whole, witness: { ...witness, lock: '1' } },
    ])
      assert.equal(read(value), undefined, JSON.stringify(value));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a server is known again by lock, time, executable and socket; each that differs is noticed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-witness-'));
  const listener = createServer().listen(0, '127.0.0.1');
  try {
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    const inode = findSocket(readFileSync('/proc/self/net/tcp', 'latin1'), port)?.inode ?? 0;
    assert.ok(lockFile(join(folder, lockName)));
    const witness = makeWitness(folder, inode);
    const uid = process.getuid?.() ?? 0;
    const presence: Presence = { pid: process.pid, port, socket: null, model: 'guide', startedAt: '', witness };
    const see = (change: Partial<typeof witness>, other: Partial<Presence> = {}) =>
      checkServer(folder, { ...presence, ...other, witness: { ...witness, ...change } }, uid).kind;
    assert.equal(see({}), 'verified');
    assert.equal(see({ started: witness.started + 1 }), 'foreign', 'another process with this pid');
    assert.equal(see({ executable: '1:1' }), 'foreign', 'another program in this process');
    assert.equal(see({ listener: inode + 1 }), 'foreign', 'another socket on the port');
    assert.equal(see({}, { port: port === 1 ? 2 : 1 }), 'unknown', 'no socket in this network');
    assert.equal(see({ pids: 'pid:[1]' }), 'unknown');
    assert.equal(see({}, { pid: 1 }), 'starting', 'somebody else holds the lock');
    assert.equal(see({ lock: 1 }), 'starting', 'another lock file by now');
    assert.equal(see({ boot: 'another' }), 'starting');
    assert.equal(checkServer(folder, { pid: 1, port, socket: null, model: '', startedAt: '' }, uid).kind, 'starting');
    const free = mkdtempSync(join(tmpdir(), 'kwyre-witness-'));
    const child = spawn(process.execPath, [
      '-e',
      "require('node:fs').openSync(process.argv[1], 'w')",
      join(free, lockName),
    ]);
    await once(child, 'exit');
    assert.equal(
      checkServer(free, { ...presence, witness: { ...makeWitness(free, inode) } }, uid).kind,
      'dead',
      'nobody holds it',
    );
    rmSync(free, { recursive: true });
  } finally {
    listener.close();
    rmSync(folder, { recursive: true });
  }
});
