/**
 * What the kernel tells about one Unix socket, asked by its inode; real sockets.
 * @module
 */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, readlinkSync, rmSync, writeSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { askUnixSocket, makeDiagSocket, parseUnixAnswer } from '../../../src/linux/sockets/sock-diag.ts';
import { makeSocketPair } from '../../../src/linux/sockets/socket.ts';
import { socketInode } from '../../../src/linux/procfs/descriptors.ts';

const inodeOf = (fd: number): number => socketInode(readlinkSync(`/proc/self/fd/${fd}`)) ?? 0;
const descriptorOf = (socket: unknown): number => (socket as { _handle: { fd: number } })._handle.fd;

test('a connection that a path accepted has that path, a pair has none, and a name with line feeds is a name', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-diag-'));
  const diag = makeDiagSocket();
  t.after(() => {
    closeSync(diag);
    rmSync(folder, { recursive: true });
  });
  const pair = makeSocketPair();
  assert.equal(askUnixSocket(diag, inodeOf(pair[0]))?.name, '');
  for (const fd of pair) closeSync(fd);
  for (const [path, name] of [
    [join(folder, 's'), join(folder, 's')],
    [`\0x\n0000000000000000: 00000002 00000000 00010000 0001 01 ${process.pid} /y`, undefined],
  ] as const) {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    const client = connect(path);
    const inode = inodeOf(descriptorOf(await accepted));
    const told = askUnixSocket(diag, inode);
    assert.deepEqual(told, { inode, state: 1, name: name ?? path });
    (await accepted).destroy();
    client.destroy();
    await new Promise((resolve) => server.close(resolve));
    assert.equal(askUnixSocket(diag, inode), undefined, 'it is gone');
  }
  assert.equal(askUnixSocket(diag, process.pid), undefined, 'the forged row is no socket');
});

test("an answer to another question, which was not read, is not taken for this socket's", (t) => {
  const diag = makeDiagSocket();
  const [mine, other] = makeSocketPair();
  t.after(() => {
    for (const fd of [diag, mine, other]) closeSync(fd);
  });
  const question = Buffer.alloc(40);
  question.writeUInt32LE(question.length, 0);
  question.writeUInt16LE(20, 4);
  question.writeUInt16LE(1, 6);
  question[16] = 1;
  question.fill(0xff, 20, 24);
  question.writeUInt32LE(inodeOf(other), 24);
  question.fill(0xff, 32, 40);
  writeSync(diag, question);
  assert.equal(askUnixSocket(diag, inodeOf(mine)), undefined);
});

test('an answer that is cut short or is another one says nothing', () => {
  for (const length of [0, 16, 31]) assert.equal(parseUnixAnswer(Buffer.alloc(length)), undefined);
  assert.equal(parseUnixAnswer(Buffer.alloc(64, 0xff)), undefined);
});
