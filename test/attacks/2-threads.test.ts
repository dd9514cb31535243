/**
 * Layer 2: how many threads the roles of a user of ours may have (L2-07). A forbidden clone ends a role, a thread is
 * allowed: the bound on them is the kernel's, and it is there only where nobody else's processes count.
 * @module
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { isTransientUser, taskLimit } from '../../src/layers/2-isolation/jail/role-user.ts';
import { attack } from '../support/jail.ts';
import { starters } from '../support/probe.ts';
import { call, startServer } from '../support/server.ts';

test('a user that is ours alone has a bound, everybody else has none', () => {
  const own = { uid: 2_010_000_007, gid: 2_010_000_007 };
  assert.ok(isTransientUser(own.uid));
  assert.deepEqual(taskLimit(own, false, 2, 0), { tasks: 134 });
  assert.deepEqual(taskLimit(own, false, 2, 256), { tasks: 896 });
  assert.deepEqual(taskLimit(undefined, true, 64, 0), { tasks: 320 });
  assert.deepEqual(taskLimit(undefined, false, 2, 0), {});
  assert.deepEqual(taskLimit({ uid: 1000, gid: 1000 }, false, 2, 0), {}, 'the owner of a checkout is no user of ours');
});

for (const role of ['gateway', 'engine'] as const) {
  test(`without end, threads of the ${role}: refused at the bound, and the control shows that they were possible`, async (t) => {
    if (process.getuid?.() !== 0) {
      t.diagnostic('an ordinary user has no user of its own, and no bound');
      return;
    }
    const uid = 2_010_000_099;
    assert.equal((await attack(role, 'started', 'thread-bomb', uid, 32)).answer, 'ERR_WORKER_INIT_FAILED');
    assert.equal((await attack(role, 'started', 'thread-bomb', uid, 4096)).answer, 'ok');
  });
}

for (const { who, uid } of starters) {
  test(`a server of ${who}: its status says what bounds its threads, and they are far below it`, async () => {
    const server = await startServer(uid === undefined ? {} : { uid });
    try {
      await (
        await call(server, '/v1/chat/completions', {
          model: 'guide',
          max_tokens: 8,
          messages: [{ role: 'user', content: 'hello' }],
        })
      ).text();
      const asRoot = process.getuid?.() === 0 && uid === undefined;
      const pids = server.pids();
      const { layers } = (await (await call(server, '/kwyre/status')).json()) as {
        layers: { layer: number; checks: { id: string; status: string; evidence: string }[] }[];
      };
      const { checks } = layers.find(({ layer }) => layer === 2)!;
      const { tasks = 0 } = taskLimit({ uid: 2_010_000_000, gid: 0 }, false, availableParallelism(), 0);
      for (const role of ['gateway', 'engine']) {
        const check = checks.find(({ id }) => id === `${role}.process-limit`);
        assert.equal(check?.status, asRoot ? 'enforced' : 'off');
        assert.match(check.evidence, asRoot ? new RegExp(`RLIMIT_NPROC ${tasks} `) : /other programs run as this user/);
      }
      if (!asRoot) return;
      for (const role of ['gateway', 'engine', 'watchdog'])
        assert.match(
          readFileSync(`/proc/${pids[role]!}/limits`, 'latin1'),
          new RegExp(`^Max processes +${tasks} +${tasks} `, 'm'),
        );
      const threads = ['gateway', 'engine'].reduce(
        (sum, role) => sum + readdirSync(`/proc/${pids[role]!}/task`).length,
        0,
      );
      assert.ok(threads < tasks / 3, `${threads} threads, ${tasks} allowed`);
    } finally {
      await server.stop();
    }
  });
}
