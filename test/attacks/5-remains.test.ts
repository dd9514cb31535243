/**
 * Layer 5 after an engine that could not clean up: the memory in which its conversations stood is held open from
 * outside, as the kernel would hold it, and looked at before and after the engine's end. Needs root: opens the memory
 * of the supervisor.
 * @module
 */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { runAs } from '../support/identity.ts';
import { longAnswer } from '../support/kills.ts';
import { canaryOf } from '../support/mixed.ts';
import type { Page } from '../support/remains.ts';
import { copiesIn, faultsOf, openWorkingSet, overwritten, pagesOf } from '../support/remains.ts';
import type { Server, Start } from '../support/server.ts';
import { startServer, until } from '../support/server.ts';
import { ordinaryUid } from '../support/watchdog.ts';

/** Two answers under way, and what stands in the working set then. */
async function midAnswer(
  t: TestContext,
  start: Start,
): Promise<{ server: Server; fd: number; canaries: string[]; before: Page[] }> {
  const server = await startServer(start);
  t.after(() => {
    server.kill();
  });
  const canaries = [canaryOf(), canaryOf()];
  await Promise.all(canaries.map(async (canary) => await longAnswer(server, canary)));
  const fd = openWorkingSet(server);
  t.after(() => {
    closeSync(fd);
  });
  const before = pagesOf(fd);
  assert.ok(copiesIn(before, canaries) > 0, 'the control: words of a running turn stand in it, and are found there');
  if (start.uid !== undefined) assertHidden(start.uid, server.pids());
  return { server, fd, canaries, before };
}

/** What a program opens of the processes that it is given: of whom it reads memory, descriptors or environment. */
const reach = `const { closeSync, openSync, readdirSync } = require('node:fs');
  const ways = { memory: (at) => [at + '/mem'], environment: (at) => [at + '/environ'], descriptors: (at) => readdirSync(at + '/fd').map((fd) => at + '/fd/' + fd) };
  const opened = [];
  for (const pid of process.argv.slice(1)) for (const [way, paths] of Object.entries(ways)) {
    try {
      for (const path of paths('/proc/' + pid)) closeSync(openSync(path, 'r'));
      opened.push(pid + ' ' + way);
    } catch (error) {
      if (!['EACCES', 'EPERM'].includes(error.code)) opened.push(pid + ' ' + way + ' ' + error.code);
    }
  }
  console.log(opened.join());`;

/**
 * Another program of the same user gets to the memory of no process: the supervisor holds the working set of running
 * turns.
 */
function assertHidden(uid: number, pids: Readonly<Record<string, number>>): void {
  for (const [role, pid] of Object.entries(pids)) assert.equal(runAs(uid, reach, String(pid)), '', role);
  assert.match(
    runAs(uid, reach.replace('process.argv.slice(1)', "['self']")),
    /self environment/,
    'the control: a process that is not hidden',
  );
}

/** Nothing of what was there is there now, nor a constant in its place. */
function assertOverwritten(t: TestContext, fd: number, canaries: readonly string[], before: readonly Page[]): void {
  assert.deepEqual(faultsOf(fd, canaries, before), []);
  t.diagnostic(`${before.length} pages with content were overwritten`);
}

for (const [who, uid] of [
  ['root', undefined],
  ['an ordinary user', ordinaryUid],
] as const) {
  const identity = uid === undefined ? {} : { uid };
  test(`L5-14 C19 ${who}: the engine is killed in the middle of two answers: the supervisor overwrites what it left`, async (t) => {
    const { server, fd, canaries, before } = await midAnswer(t, identity);
    process.kill(server.pids()['engine']!, 'SIGKILL');
    await until('the supervisor to overwrite it', () => overwritten(server).length > 0);
    assertOverwritten(t, fd, canaries, before);
    const next = await until('the next engine', () => server.pids()['engine'], 10_000);
    assert.ok(next > 0);
  });

  test(`L5-14 C24 ${who}: the watchdog is killed: everything ends, and it is overwritten`, async (t) => {
    const { server, fd, canaries, before } = await midAnswer(t, identity);
    process.kill(server.pids()['watchdog']!, 'SIGKILL');
    assert.equal((await server.ended).code, 16, server.output());
    assertOverwritten(t, fd, canaries, before);
  });
}

test('L5-14 C20 an engine that does not answer is ended with the server, and overwritten', async (t) => {
  const { server, fd, canaries, before } = await midAnswer(t, { args: ['--scan-interval', '5000'] });
  process.kill(server.pids()['engine']!, 'SIGSTOP');
  await server.stop();
  assertOverwritten(t, fd, canaries, before);
});

test('L5-14 the server ends in order: nothing stands in it afterwards', async (t) => {
  const { server, fd, canaries, before } = await midAnswer(t, {});
  assert.equal((await server.stop()).code, 0, server.output());
  assertOverwritten(t, fd, canaries, before);
});
