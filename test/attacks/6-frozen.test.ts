/**
 * Layer 6: a process whose control group is frozen is seen as such, by the kernel's own files (L6-07).
 * Needs root: control groups.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { openProcReader } from '../../src/linux/procfs/proc-reader.ts';
import { inspectTarget } from '../../src/watchdog/own-processes.ts';
import { endWithUs } from '../support/children.ts';

/** A group of the second version, or of the first one's freezer: where it is, and how it is frozen and thawed. */
const forms = [
  { parent: '/sys/fs/cgroup', needs: '/sys/fs/cgroup/cgroup.procs', file: 'cgroup.freeze', frozen: '1', thawed: '0' },
  {
    parent: '/sys/fs/cgroup/unified',
    needs: '/sys/fs/cgroup/unified/cgroup.procs',
    file: 'cgroup.freeze',
    frozen: '1',
    thawed: '0',
  },
  {
    parent: '/sys/fs/cgroup/freezer',
    needs: '/sys/fs/cgroup/freezer/cgroup.procs',
    file: 'freezer.state',
    frozen: 'FROZEN',
    thawed: 'THAWED',
  },
];

test('L6-07 a frozen control group is seen, and a thawed one is not', async () => {
  const form = forms.find(({ needs }) => existsSync(needs));
  assert.ok(form !== undefined, 'this machine has control groups');
  const group = join(form.parent, `kwyre-test-${process.pid}-${Date.now()}`);
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume(); console.log("up")'], {
    env: {},
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  endWithUs(child);
  await once(child.stdout, 'data');
  const frozen = () =>
    inspectTarget(
      openProcReader(),
      { role: 'engine', pid: child.pid!, namespace: 'shared', sealed: false, sockets: [] },
      { missing: 'not-due' },
      false,
    ).frozen;
  mkdirSync(group);
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(child.pid));
    assert.deepEqual(frozen(), { value: false });
    writeFileSync(join(group, form.file), form.frozen);
    const until = performance.now() + 10_000;
    while (performance.now() < until && !('value' in frozen() && (frozen() as { value: boolean }).value))
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(frozen(), { value: true });
    writeFileSync(join(group, form.file), form.thawed);
    while (performance.now() < until && (frozen() as { value: boolean }).value)
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(frozen(), { value: false });
  } finally {
    writeFileSync(join(group, form.file), form.thawed);
    child.kill('SIGKILL');
    await once(child, 'exit');
    for (let tries = 0; existsSync(group) && tries < 50; tries += 1) {
      try {
        rmdirSync(group);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
});
