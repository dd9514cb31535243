/**
 * Layer 5, looked at by other means: core images that gdb writes of every process. A run of its own, since an image has
 * 1.4 GB: `test/run test/soak/images.test.ts`, as root.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { beginRequest } from '../../src/cli/prove/raw-http.ts';
import { patternsOf, Searcher } from '../../src/cli/prove/memory-scanner.ts';
import { copyInstallation } from '../support/copy.ts';
import { canaryOf, settle, turn } from '../support/mixed.ts';
import type { Server } from '../support/server.ts';
import { startServer } from '../support/server.ts';
import { weaken } from '../support/weaken.ts';

const chunkBytes = 8 << 20;

/** Copies of the needles in a file, in every form. */
function copiesIn(path: string, needles: readonly string[]): number {
  const searcher = new Searcher(patternsOf(needles));
  const buffer = Buffer.allocUnsafeSlow(chunkBytes + searcher.longest);
  const fd = openSync(path, 'r');
  let found = 0;
  for (let at = 0, size = statSync(path).size; at < size; at += chunkBytes) {
    searcher.search(buffer, readSync(fd, buffer, 0, buffer.length, at), chunkBytes, () => {
      found += 1;
    });
  }
  closeSync(fd);
  return found;
}

/**
 * Writes an image of a process as gcore does, without what asked to be left out of dumps; gives the copies in it and
 * its size.
 */
function searchImage(pid: number, needles: readonly string[]): { copies: number; bytes: number } {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-image-'));
  try {
    const path = join(folder, 'core');
    const ran = spawnSync('gdb', ['-q', '-nx', '-batch', '-p', String(pid), '-ex', `generate-core-file ${path}`], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.match(ran.stdout, /Saved corefile/, ran.stderr);
    return { copies: copiesIn(path, needles), bytes: statSync(path).size };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('L5-01 core images of every process, with its state sealed for the next turn: nothing', async (t) => {
  // Layer 6 would end the server while an image is written.
  using copy = copyInstallation(true);
  weaken(copy.path, 6);
  const serve = async (): Promise<Server> => {
    const server = await startServer({ repository: copy.path });
    t.after(() => {
      server.kill();
    });
    return server;
  };
  // The control, on a server of its own, since a debugger closes it: a request that waits for its rest is in the image.
  const busy = await serve();
  const waiting = canaryOf();
  const end = await beginRequest(
    busy,
    Buffer.from(JSON.stringify({ model: 'guide', messages: [{ role: 'user', content: waiting }] })),
  );
  await sleep(500);
  const { gateway = 0, engine = 0 } = busy.pids();
  assert.ok(
    [gateway, engine].some((pid) => searchImage(pid, [waiting]).copies > 0),
    'the search sees what is there',
  );
  end();
  busy.kill();
  await busy.ended;
  const server = await serve();
  const canary = canaryOf();
  await turn(server, canary);
  await settle(server);
  // The supervisor last: while an image of it is written it stands still, and the roles end by themselves after five
  // seconds.
  for (const [role, pid] of Object.entries(server.pids()).toSorted(
    ([a], [b]) => Number(a === 'supervisor') - Number(b === 'supervisor'),
  )) {
    const { copies, bytes } = searchImage(pid, [canary]);
    t.diagnostic(`${role}: ${copies} copies in an image of ${Math.round(bytes / 1e6)} MB`);
    assert.equal(copies, 0, role);
  }
});
