/**
 * Layer 6 at the running server: real debuggers, readers of memory and captures against `./kwyre serve`.
 * Needs root: debuggers of root's, captures, processes of other users.
 * @module
 */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeState } from '../support/approved.ts';
import type { Server } from '../support/server.ts';
import { alive, call, launch, root, startServer, tree, until } from '../support/server.ts';
import { start, use } from '../support/watchdog.ts';

const interval = ['--scan-interval', '250'];

const folder = mkdtempSync(join(tmpdir(), 'kwyre-renamed-'));
after(() => {
  rmSync(folder, { recursive: true });
});
const renamed = join(folder, 'notepad');
copyFileSync(realpathSync('/usr/bin/gdb'), renamed);
chmodSync(renamed, 0o755);

const ask = { model: 'guide', max_tokens: 8, messages: [{ role: 'user', content: 'What does layer 6 do?' }] };

/** A server with its state kept, so that what it leaves can be looked at. */
async function serve(t: TestContext, state: string): Promise<Server> {
  const server = await startServer({ state, args: interval });
  t.after(() => {
    server.kill();
  });
  assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
  return server;
}

/** Waits for the end by a violation: exit 16, nobody left, the log and the marker say what it was. */
async function violated(
  t: TestContext,
  server: Server,
  detector: string,
  engine?: 'ENGINE_WIPED' | 'ENGINE_KILLED',
): Promise<void> {
  const from = performance.now();
  const ours = tree(server.pid);
  const { code } = await Promise.race([server.ended, sleep(20_000, { code: 'it goes on' }, { ref: false })]);
  t.diagnostic(`ended ${Math.round(performance.now() - from)} ms after the attack began`);
  assert.equal(code, 16, server.output());
  assert.deepEqual(ours.filter(alive), []);
  assert.match(
    server.output(),
    /next: find out what happened; then start again: \.\/kwyre serve --acknowledge-violation/,
  );
  const marker = JSON.parse(readFileSync(join(server.state, 'violation.json'), 'utf8')) as { detector: string };
  assert.equal(marker.detector, detector);
  const logged = readFileSync(join(server.state, 'events.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { detector?: string; code: string });
  assert.ok(logged.some((event) => event.detector === detector));
  if (engine === undefined) return;
  const wiped = logged.findIndex((event) => event.code.startsWith('ENGINE_'));
  assert.equal(logged[wiped]?.code, engine);
  assert.ok(
    wiped < logged.findIndex((event) => event.detector === detector && event.code !== 'L6_SEEN'),
    'the conversations ended before the violation was written down',
  );
}

// What the engine comes to: it overwrites its keys and contents when told to, unless somebody holds it.
const attacks: readonly (readonly [
  string,
  string,
  (server: Server) => readonly string[],
  'ENGINE_WIPED' | 'ENGINE_KILLED',
])[] = [
  [
    'L6-01: gdb under another name, attached to the engine',
    'tracer',
    (server) => [renamed, '-q', '-nx', '-p', String(server.pids()['engine'])],
    'ENGINE_KILLED',
  ],
  [
    'L6-05: strace on every thread of the gateway',
    'tracer',
    (server) => ['strace', '-f', '-o', '/dev/null', '-p', String(server.pids()['gateway'])],
    'ENGINE_WIPED',
  ],
  [
    'L6-02: the memory of the engine held open',
    'memory',
    (server) => ['sh', '-c', `exec 7</proc/${server.pids()['engine']}/mem; exec sleep 20`],
    'ENGINE_WIPED',
  ],
  [
    'L6-13: a capture of the loopback interface',
    'capture',
    () => ['tcpdump', '-i', 'lo', '-w', '/dev/null'],
    'ENGINE_WIPED',
  ],
];
for (const [title, detector, command, engine] of attacks) {
  test(title, async (t) => {
    using state = makeState();
    const server = await serve(t, state.path);
    use(t, start(command(server)));
    await violated(t, server, detector, engine);
  });
}

test('L6-07: gdb stops the supervisor: its roles end by themselves, and the supervisor once it goes on', async (t) => {
  using state = makeState();
  const server = await serve(t, state.path);
  const { engine = 0, gateway = 0 } = server.pids();
  const gdb = use(t, start(['gdb', '-q', '-nx', '-p', String(server.pid)]));
  await until('the roles to end', () => !alive(engine) && !alive(gateway));
  await gdb.stop();
  await violated(t, server, 'tracer');
});

test('L6-09: the watchdog is killed', async (t) => {
  using state = makeState();
  const server = await serve(t, state.path);
  process.kill(server.pids()['watchdog']!, 'SIGKILL');
  await violated(t, server, 'heartbeat', 'ENGINE_WIPED');
});

test('C24: an engine that stands still when everything ends is killed within 250 ms', async (t) => {
  using state = makeState();
  const server = await serve(t, state.path);
  const { engine = 0, watchdog = 0 } = server.pids();
  process.kill(engine, 'SIGSTOP');
  process.kill(watchdog, 'SIGKILL');
  await violated(t, server, 'heartbeat', 'ENGINE_KILLED');
});

test('a violation stands for this boot: the next start is refused until somebody says that it was looked into', async (t) => {
  using state = makeState();
  const server = await serve(t, state.path);
  process.kill(server.pids()['engine']!, 'SIGSYS');
  await violated(t, server, 'jail');
  const again = launch({ state: state.path, args: interval });
  assert.equal((await again.ended).code, 16);
  assert.match(again.output(), /L6_KERNEL_KILL.*kwyre engine/);
  const third = await startServer({ state: state.path, args: [...interval, '--acknowledge-violation'] });
  assert.equal((await third.stop()).code, 0);
  const fourth = await startServer({ state: state.path, args: interval });
  assert.equal((await fourth.stop()).code, 0);
});

test('a debugger that is there already refuses the start with the list, unless it is acknowledged', async (t) => {
  using state = makeState();
  const gdb = use(t, start(['gdb', '-q', '-nx']));
  await until('gdb', () => readFileSync(`/proc/${gdb.pid}/comm`, 'latin1').startsWith('gdb'));
  const refused = launch({ state: state.path, args: interval });
  assert.equal((await refused.ended).code, 16);
  assert.match(refused.output(), new RegExp(`gdb \\(pid ${gdb.pid}, uid 0\\)`));
  assert.match(refused.output(), /--acknowledge-tool gdb/);
  const server = await startServer({ state: state.path, acknowledge: ['gdb'], args: interval });
  assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
  assert.equal((await server.stop()).code, 0);
});

test('L6-04: a server that is traced from its start on is refused, whatever is acknowledged', async (t) => {
  using state = makeState();
  const traced = use(
    t,
    start([
      'strace',
      '-o',
      '/dev/null',
      join(root, 'kwyre'),
      'serve',
      '--port',
      '0',
      '--state',
      state.path,
      '--acknowledge-tool',
      'strace',
      ...interval,
    ]),
  );
  const code = await new Promise((resolve) => traced.process.once('close', resolve));
  assert.equal(code, 16, traced.output());
  assert.match(traced.output(), /pid \d+ traces this process/);
});

test('a debugger without relation to us: new conversations are refused until it is gone', async (t) => {
  using state = makeState();
  const server = await serve(t, state.path);
  const gdb = use(t, start(['gdb', '-q', '-nx']));
  await until('the warning', () => server.output().includes('new conversations are refused until it is gone'));
  let refused = await call(server, '/v1/chat/completions', ask);
  for (let tries = 0; tries < 20 && refused.status === 200; tries += 1) {
    await sleep(100); // the word to the gateway is on its way
    refused = await call(server, '/v1/chat/completions', ask);
  }
  assert.equal(refused.status, 503);
  assert.equal(((await refused.json()) as { error: { code: string } }).error.code, 'intake_closed');
  assert.equal((await call(server, '/v1/models')).status, 200);
  const status = (await (await call(server, '/kwyre/status')).json()) as {
    layers: { layer: number; status: string }[];
  };
  assert.equal(status.layers.find((layer) => layer.layer === 6)!.status, 'degraded');
  await gdb.stop();
  await until('all clear', () => server.output().includes('no threats detected'));
  assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
  assert.equal((await server.stop()).code, 0);
});

test('Ctrl-Z does not stop the server', async (t) => {
  using state = makeState();
  const server = await serve(t, state.path);
  process.kill(server.pid, 'SIGTSTP');
  await sleep(1500);
  assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
  assert.match(server.output(), /Ctrl-Z is disabled/);
});
