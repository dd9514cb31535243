/**
 * Layer 2: the user of the roles is nobody else's, also where servers run in pid namespaces of their own and have the
 * same pid. Needs root: pid namespaces, and the keys of other users.
 * @module
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { test } from 'node:test';
import {
  canRead,
  chooseIdentity,
  pickUserId,
  isTransientUser,
  transientIds,
} from '../../src/layers/2-isolation/jail/role-user.ts';
import { claimUser, hasProcesses, keysOf } from '../../src/linux/user-keys.ts';
import { endWithUs } from '../support/children.ts';
import { asUser } from '../support/identity.ts';
import { until } from '../support/server.ts';
import { stripped } from '../support/stripped.ts';

const from = transientIds.first + 77_000_000;

/** One that starts in a pid namespace of its own: its pid, its id, and what ends it. */
async function starter(first: number): Promise<{ pid: string; uid: number; child: ChildProcess }> {
  const child = spawn(
    'unshare',
    [
      '--pid',
      '--fork',
      '--kill-child',
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      stripped('test/attacks/entries/draw-id.ts'),
      String(first),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  endWithUs(child);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await until('its id', () => output.endsWith('\n') || undefined);
  const [pid = '', uid = ''] = output.trim().split(' ');
  return { pid, uid: Number(uid), child };
}

test('five servers in pid namespaces, which all have the same pid and draw the same numbers, have five users', async () => {
  const started = await Promise.all(Array.from({ length: 5 }, () => starter(from)));
  try {
    assert.deepEqual([...new Set(started.map(({ pid }) => pid))], ['1'], 'the same pid in each');
    assert.equal(new Set(started.map(({ uid }) => uid)).size, 5);
    for (const { uid } of started) {
      assert.ok(isTransientUser(uid));
      assert.equal(keysOf(uid, readFileSync('/proc/key-users', 'latin1')), 1);
      assert.equal(claimUser(uid), 'taken');
    }
  } finally {
    for (const { child } of started) child.kill('SIGKILL');
  }
  const [one] = started;
  await until(
    'the claim to end with its process',
    () => keysOf(one!.uid, readFileSync('/proc/key-users', 'latin1')) === 0 || undefined,
  );
  assert.equal(claimUser(one!.uid), 'claimed', 'and it can be claimed again');
});

test('an id that any process has is not taken, whatever that process lets be seen', async () => {
  const uid = from + 1000;
  assert.equal(hasProcesses(uid), false);
  const [file = '', ...args] = asUser(uid, [process.execPath, '-e', 'process.stdin.resume(); console.log("up")']);
  const child = spawn(file, args, { env: {}, stdio: ['pipe', 'pipe', 'inherit'] });
  endWithUs(child);
  await once(child.stdout, 'data');
  try {
    assert.equal(hasProcesses(uid), true);
    let next = uid;
    assert.equal(pickUserId({ draw: () => next++, inUse: hasProcesses, claim: () => 'claimed' }), uid + 1);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

test("ids are drawn where nobody gives them out; what is everybody's is not taken for ours", () => {
  const range = { first: 0, end: 0 };
  pickUserId({
    draw: (first, end) => {
      Object.assign(range, { first, end });
      return first;
    },
    inUse: () => false,
    claim: () => 'unavailable',
  });
  assert.deepEqual(range, transientIds);
  for (const [what, low, high] of [
    ['users of systemd', 61_184, 65_519],
    ['nobody', 65_534, 65_535],
    ['containers', 524_288, 1_879_048_191],
    ['directories', 200_000, 2_000_200_000],
    ['foreign images', 2_147_352_576, 2_147_418_111],
    ['signed numbers', 2_147_483_648, 4_294_967_295],
  ] as const)
    for (const uid of [low, high]) assert.equal(isTransientUser(uid), false, `${what}: ${uid}`);
  assert.ok(transientIds.end - transientIds.first > 100_000_000);
  assert.equal(
    pickUserId({ draw: () => 7, inUse: () => true, claim: () => 'claimed' }),
    undefined,
    'it does not draw for ever',
  );
  assert.equal(pickUserId({ draw: () => 7, inUse: () => false, claim: () => 'taken' }), undefined);
});

test('without an id of its own the owner of the folder is who they become, and never root', () => {
  const stat = (path: string) => ({ uid: path === '/' ? 0 : 1000, gid: 1000, mode: 0o755 });
  assert.deepEqual(chooseIdentity(undefined, ['/home/ada'], stat), { uid: 1000, gid: 1000 });
  assert.deepEqual(chooseIdentity(from, ['/home/ada'], stat), { uid: from, gid: from });
  assert.equal(
    chooseIdentity(undefined, ['/root/x'], () => ({ uid: 0, gid: 0, mode: 0o755 })),
    undefined,
  );
  assert.ok(!canRead({ uid: from, gid: from }, '/home/ada', () => ({ uid: 1000, gid: 1000, mode: 0o700 })));
});
