/**
 * Where Kwyre may lie: a folder whose name is not ASCII, with blanks and a line feed, for program, state and socket.
 * Needs root: only root's watchdog sees the maps of our processes.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { copyInstallation } from '../support/copy.ts';
import { alive, call, root, startServer } from '../support/server.ts';

/** One request through the Unix socket; its status. */
function throughSocket(socketPath: string, token: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(
      { socketPath, path: '/v1/models', headers: { host: 'localhost', authorization: `Bearer ${token}` } },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    )
      .on('error', reject)
      .end();
  });
}

test('an installation in a folder with any name starts, is verified, and stays under its watchdog', async () => {
  using copy = copyInstallation(true);
  const place = `${copy.path}-dir`;
  mkdirSync(place);
  const repository = join(place, "Büro 文件 100% #1\n a 'q'");
  renameSync(copy.path, repository);
  try {
    const socket = join(place, 'Schlüssel', 's  1');
    const server = await startServer({
      repository,
      state: join(place, 'Zustand état'),
      args: ['--scan-interval', '250', '--socket', socket],
    });
    const status = (await (await call(server, '/kwyre/status')).json()) as {
      layers: { layer: number; status: string; checks: { id: string; evidence: string; status: string }[] }[];
    };
    assert.equal(await throughSocket(socket, server.token), 200);
    await sleep(1000); // several scans, with a connection through the socket among what they see
    assert.ok(alive(server.pid), server.output());
    const mappings = status.layers
      .flatMap(({ checks }) => checks)
      .find(({ id }) => id === 'mappings' || id === 'watchdog.mappings');
    assert.ok(mappings === undefined || mappings.status === 'enforced', JSON.stringify(mappings));
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  } finally {
    renameSync(repository, copy.path);
  }
});

test('a folder from which Node loads no module is refused in words', () => {
  const place = join(mkdtempSync(join(tmpdir(), 'kwyre-folder-')), 'a\\b');
  mkdirSync(place);
  copyFileSync(join(root, 'kwyre'), join(place, 'kwyre'));
  const { status, stderr } = spawnSync('sh', [join(place, 'kwyre'), '--version'], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /backslash[^]*next: move the installation/);
  rmSync(join(place, '..'), { recursive: true });
});
