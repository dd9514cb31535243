/**
 * Layer 5 once more with the keys in plain memory, so that nothing can hide where a scan cannot read (L5-32).
 * Needs root: the memory of processes that are not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { scanProcess } from '../../src/cli/prove/memory-scanner.ts';
import { copyInstallation } from '../support/copy.ts';
import { canaryOf, settle, turn } from '../support/mixed.ts';
import { call, startServer } from '../support/server.ts';
import { editCode } from '../support/find-code.ts';

test('L5-32 with the keys in plain memory nothing is hidden from the scan, nothing is found, and the layer says degraded', async (t) => {
  using copy = copyInstallation(true);
  const path = join(copy.path, 'src/jail/main.ts');
  const head = 'function createSecretMemory(policy: Policy): void {';
  editCode(path, head, `${head} return;`);
  const server = await startServer({ repository: copy.path });
  t.after(() => {
    server.kill();
  });
  const { layers } = (await (await call(server, '/kwyre/status')).json()) as { layers: { status: string }[] };
  assert.equal(layers[4]!.status, 'degraded');
  const canary = canaryOf();
  await turn(server, canary);
  await settle(server);
  const look = (): void => {
    for (const [role, pid] of Object.entries(server.pids())) {
      const scan = scanProcess(pid, [canary]);
      assert.deepEqual([scan.unreadable, scan.unreadableBytes], [[], 0], `${role}: every byte was read`);
      assert.equal(scan.total, 0, role);
    }
  };
  look();
  assert.equal((await call(server, '/kwyre/sessions', undefined, { method: 'DELETE' })).status, 200);
  await settle(server);
  look();
});
