/**
 * Layer 5 at every end that is not a kill: signals, errors that nobody caught, a stopped engine, a clock that steps,
 * and orders to write memory to a file, in a copy of the program with code put in. Needs root: opens the memory of the
 * supervisor.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeState } from '../support/approved.ts';
import { longAnswer } from '../support/kills.ts';
import { canaryOf, filesBelow } from '../support/mixed.ts';
import { copyWithOrders, orders, writeHeap, writeReport } from '../support/put-in.ts';
import type { Page } from '../support/remains.ts';
import { copiesIn, faultsOf, openWorkingSet, overwritten, pagesOf } from '../support/remains.ts';
import type { Server } from '../support/server.ts';
import { alive, call, startServer, tree, until } from '../support/server.ts';
import { assertWithin } from '../support/time-bounds.ts';
import { biasOf, endTokens } from '../support/tokens.ts';

const copy = copyWithOrders();
after(() => {
  copy[Symbol.dispose]();
});

type Under = {
  readonly server: Server;
  readonly canaries: string[];
  readonly answers: { over: () => boolean }[];
  readonly fd: number;
  readonly before: Page[];
  readonly engine: number;
  readonly output: () => string;
};

/** A state folder that is there as long as the test. */
function stateOf(t: TestContext): string {
  const state = makeState();
  t.after(() => {
    state[Symbol.dispose]();
  });
  return state.path;
}

/** Two answers under way in a server of the copy, and its working set held open. */
async function underway(t: TestContext, args: readonly string[] = []): Promise<Under> {
  const server = await startServer({ repository: copy.path, args, state: stateOf(t) });
  t.after(() => {
    server.kill();
  });
  const canaries = [canaryOf(), canaryOf()];
  const answers = await Promise.all(canaries.map(async (canary) => await longAnswer(server, canary)));
  const fd = openWorkingSet(server);
  t.after(() => {
    closeSync(fd);
  });
  const before = pagesOf(fd);
  assert.ok(copiesIn(before, canaries) > 0, 'words of running turns stand in it');
  return { server, canaries, answers, fd, before, engine: server.pids()['engine']!, output: server.output };
}

/** Whoever maps or holds secret memory among these processes. */
function keyHolders(pids: readonly number[]): number[] {
  return pids.filter(alive).filter((pid) => readFileSync(`/proc/${pid}/maps`, 'latin1').includes('secretmem'));
}

for (const signals of [
  ['SIGINT'],
  ['SIGHUP'],
  ['SIGQUIT'],
  ['SIGTERM', 'SIGTERM'],
  ['SIGINT', 'SIGTERM'],
  [orders.throw],
  [orders.reject],
] as const) {
  test(`L5-13 ${signals.join(' and ')} at the supervisor in the middle of two answers: every process is gone within a second, the keys with them, the working set is overwritten`, async (t) => {
    const { server, canaries, answers, fd, before, output } = await underway(t);
    const pids = tree(server.pid);
    assert.equal(keyHolders(pids).length, 1, 'the engine has keys');
    const began = performance.now();
    for (const signal of signals) process.kill(server.pid, signal);
    await until('every process to end', () => pids.every((pid) => !alive(pid)));
    assertWithin('every process is gone', performance.now() - began, 1000);
    await server.ended;
    await until('the clients to know', () => answers.every((answer) => answer.over()));
    assert.deepEqual(faultsOf(fd, canaries, before), []);
    assert.ok(canaries.every((canary) => !output().includes(canary)));
  });
}

for (const role of ['gateway', 'engine'] as const) {
  for (const [what, signal] of [
    ['SIGQUIT', 'SIGQUIT'],
    ['an error that nobody caught', orders.throw],
    ['a rejection that nobody handled', orders.reject],
  ] as const) {
    test(`L5-13 ${what} in the ${role} in the middle of two answers: the pair is gone within a second, the keys with it, the working set is overwritten`, async (t) => {
      const { server, canaries, fd, before, engine, output } = await underway(t);
      const pair = [engine, server.pids()['gateway']!];
      const began = performance.now();
      process.kill(server.pids()[role]!, signal);
      await until('both to end', () => pair.every((pid) => !alive(pid)));
      assertWithin('the pair is gone', performance.now() - began, 1000);
      await until('the supervisor to overwrite it', () => overwritten(server).length > 0);
      assert.deepEqual(faultsOf(fd, canaries, before), []);
      assert.deepEqual(keyHolders(tree(server.pid).filter((pid) => pid !== server.pids()['engine'])), []);
      await until(
        'the next pair',
        () => server.pids()['engine'] !== undefined && server.pids()['gateway'] !== undefined,
      );
      assert.ok(canaries.every((canary) => !output().includes(canary)));
      await server.stop();
    });
  }
}

/** Files that Node may have written, wherever a process of the server could. */
function written(server: Server): string[] {
  return [
    ...filesBelow(server.state),
    ...['/', '/tmp', '/dev/shm', copy.path].flatMap((folder) => readdirSync(folder).map((name) => join(folder, name))),
  ].filter((path) => /heapsnapshot|put-in|report\.\d+.*\.json|Heap\.\d+|\/core/.test(path));
}

for (const [role, how] of (['gateway', 'engine'] as const).flatMap((role) =>
  (['writeHeap', 'writeReport', 'SIGABRT'] as const).map((how) => [role, how] as const),
)) {
  test(`L5-02 L5-11 ${how} in the sealed ${role}: no file anywhere`, async (t) => {
    const { server, canaries, output } = await underway(t);
    assert.deepEqual(written(server), []);
    for (const [name, pid] of Object.entries(server.pids())) {
      if (name !== 'supervisor')
        assert.match(readFileSync(`/proc/${pid}/limits`, 'latin1'), /^Max core file size\s+0\s+0\s/m, name);
      assert.doesNotMatch(readFileSync(`/proc/${pid}/cmdline`, 'latin1'), /heapsnapshot|report|inspect|diagnostic-dir/);
    }
    process.kill(server.pids()[role]!, how === 'SIGABRT' ? 'SIGABRT' : orders[how]);
    await until(
      'it to have tried',
      () => overwritten(server).length > 0 || output().includes('L6_KERNEL_KILL'),
      10_000,
    );
    await server.stop();
    assert.deepEqual(written(server), []);
    assert.ok(canaries.every((canary) => !output().includes(canary)));
  });
}

test('L5-02 the control: the same orders in a process of its own write files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-write-'));
  try {
    assert.equal(
      spawnSync(process.execPath, ['-e', `${writeHeap("['']")}${writeReport("['']")}`], { cwd: folder }).status,
      0,
    );
    assert.deepEqual(
      readdirSync(folder)
        .map((name) => name.replace(/\.\d.*\./, '.'))
        .sort(),
      ['kwyre-put-in.heapsnapshot', 'kwyre-put-in.json', 'report.json', 'report.json'],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('L5-16 an engine that was stopped for longer than the idle time goes on with its active turn; the reaper comes after it; a step of the clock does nothing', async (t) => {
  const server = await startServer({ repository: copy.path, args: ['--idle', '3s', '--scan-interval', '5000'] });
  t.after(() => {
    server.kill();
  });
  const first = await call(
    server,
    '/v1/chat/completions',
    { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content: 'hello' }] },
    { headers: { 'kwyre-session': 'new' } },
  );
  const id = first.headers.get('kwyre-session')!;
  await first.text();
  const state = async () =>
    (await (await call(server, `/kwyre/sessions/${id}`)).json()) as { state?: string; left_s?: number };
  const engine = server.pids()['engine']!;
  process.kill(engine, orders.stepClock);
  await sleep(1200);
  assert.equal((await state()).state, 'idle', 'a day forward is no idleness');

  const abort = new AbortController();
  const streaming = await call(
    server,
    '/v1/chat/completions',
    {
      model: 'guide',
      stream: true,
      // Long enough that it has not ended when the engine is stopped, on a busy machine either.
      max_tokens: 3500,
      logit_bias: biasOf(await endTokens()),
      temperature: 1.7,
      messages: [{ role: 'user', content: 'go on' }],
    },
    { headers: { 'kwyre-session': id }, signal: abort.signal },
  );
  const reader = streaming.body!.getReader();
  await reader.read();
  process.kill(engine, 'SIGSTOP');
  await sleep(3500);
  process.kill(engine, 'SIGCONT');
  assert.equal((await reader.read()).done, false, 'the answer goes on');
  assert.equal((await state()).state, 'active');
  abort.abort();
  await sleep(300);
  assert.equal((await state()).state, 'idle', 'not reaped for the time of its turn');
  await sleep(4500);
  assert.equal(
    (
      await call(
        server,
        '/v1/chat/completions',
        { model: 'guide', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] },
        { headers: { 'kwyre-session': id } },
      )
    ).status,
    410,
  );
  await server.stop();
});

test("an engine that stands still, whatever it computes, ends when its idle conversation is due: by the supervisor's clock", async (t) => {
  const server = await startServer({
    state: stateOf(t),
    repository: copy.path,
    args: ['--idle', '2s', '--scan-interval', '5000'],
  });
  t.after(() => {
    server.kill();
  });
  const first = await call(
    server,
    '/v1/chat/completions',
    { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content: 'hello' }] },
    { headers: { 'kwyre-session': 'new' } },
  );
  assert.equal(first.status, 200);
  const id = first.headers.get('kwyre-session')!;
  await first.text();
  const engine = server.pids()['engine']!;
  await sleep(1100); // it has said when the conversation is due
  process.kill(engine, orders.spin);
  await until('the engine to end', () => !alive(engine), 60_000);
  const state = async () => (await call(server, `/kwyre/sessions/${id}`).catch(() => undefined))?.status;
  let seen = await state();
  for (let tries = 0; tries < 100 && seen !== 404; tries += 1) {
    await sleep(200);
    seen = await state();
  }
  assert.equal(seen, 404, 'another engine serves, and knows nothing of it');
  const { code } = await server.stop();
  assert.equal(code, 0, server.output());
  const events = readFileSync(join(server.state, 'events.jsonl'), 'utf8');
  assert.match(events, /"code":"ENGINE_STOOD_STILL","role":"engine"/);
  assert.match(events, /OVERWRITTEN/);
});
