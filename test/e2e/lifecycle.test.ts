/**
 * Every way out ends every child; a crash ends conversations, not the server; a forbidden call ends everything.
 * @module
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { copyInstallation } from '../support/copy.ts';
import { editCode } from '../support/find-code.ts';
import { alive, call, launch, startServer, tree, until } from '../support/server.ts';
import type { Server } from '../support/server.ts';

const ordinary = 12345;
const question = (extra = {}) => ({
  model: 'guide',
  messages: [{ role: 'user', content: 'What does layer 5 do?' }],
  ...extra,
});

/** A port that nobody has now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** Waits until none of the processes lives. */
async function gone(pids: readonly number[], ms = 2000): Promise<void> {
  await until('every process to end', () => pids.every((pid) => !alive(pid)), ms);
}

for (const uid of [undefined, ordinary]) {
  const who = uid === undefined ? 'root' : 'an ordinary user';
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    test(`${signal} ends every process of a server of ${who}, in order`, async () => {
      const server = await startServer(uid === undefined ? {} : { uid });
      const pids = tree(server.pid);
      assert.ok(pids.length >= 3, 'supervisor, gateway and engine');
      process.kill(server.pid, signal);
      assert.deepEqual(await server.ended, { code: 0, signal: null });
      await gone(pids);
      for (const file of ['token', 'authorization', 'server.json'])
        assert.ok(!existsSync(join(server.state, file)), `${file} is left behind`);
    });
  }

  test(`the death of the supervisor ends every child (${who})`, async () => {
    const server = await startServer(uid === undefined ? {} : { uid });
    const pids = tree(server.pid);
    process.kill(server.pid, 'SIGKILL');
    await server.ended;
    await gone(pids, 1000);
  });
}

/** Starts a long stream and gives back what has arrived so far and its end. */
async function longStream(server: Server): Promise<{ text: () => string; ended: Promise<void> }> {
  const response = await call(
    server,
    '/v1/chat/completions',
    question({ stream: true, max_tokens: 900, temperature: 1.5 }),
  );
  assert.equal(response.status, 200);
  let text = '';
  const decoder = new TextDecoder();
  const ended = (async () => {
    for await (const chunk of response.body as ReadableStream<Uint8Array>)
      text += decoder.decode(chunk, { stream: true });
  })().catch(() => undefined);
  return { text: () => text, ended };
}

test('a crash of the engine ends its conversations with a clear error and is answered by a fresh pair, three times an hour', async () => {
  const server = await startServer();
  for (let crash = 1; crash <= 4; crash += 1) {
    const engine = server.pids()['engine']!;
    const before = [engine, server.pids()['gateway']!];
    const stream = await longStream(server);
    process.kill(engine, 'SIGKILL');
    await stream.ended;
    if (!stream.text().includes('[DONE]')) assert.match(stream.text(), /"error"/, 'a stream that was cut says so');
    await gone(before);
    if (crash === 4) break;
    await until('a fresh pair', () => tree(server.pid).length >= 4);
    const answer = await call(server, '/v1/chat/completions', question({ max_tokens: 4 }));
    assert.equal(answer.status, 200, `after crash ${crash}`);
    assert.match(server.output(), new RegExp(`${crash} of 3 this hour`));
  }
  assert.deepEqual(await server.ended, { code: 1, signal: null });
  assert.match(server.output(), /more than 3 times in an hour/);
});

for (const role of ['gateway', 'engine'] as const) {
  test(`a death of the ${role} by SIGSYS, as the kernel's answer to a forbidden call, ends everything with 16`, async () => {
    const server = await startServer();
    const pids = tree(server.pid);
    process.kill(server.pids()[role]!, 'SIGSYS');
    assert.deepEqual(await server.ended, { code: 16, signal: null });
    await gone(pids);
    assert.match(server.output(), new RegExp(`the ${role} \\(pid \\d+\\) broke its rules`));
  });
}

test('/health is 200 from the moment on when the very next chat is answered, and not before', async () => {
  const port = await freePort();
  const { process: child, state, output, ended } = launch({ args: ['--port', String(port)] });
  const health = async (): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined))?.status ?? 0;
  const before = new Set<number>();
  try {
    const end = Date.now() + 60_000;
    for (;;) {
      const announced = existsSync(join(state, 'server.json')) || /\(ready in/.test(output());
      const status = await health();
      if (status === 200) break;
      assert.equal(announced, false, `it was announced, and /health said ${status}`);
      before.add(status);
      assert.ok(Date.now() < end && child.exitCode === null, output());
    }
    for (const status of before) assert.ok(status === 0 || status === 503, `${status} while it started`);
    const token = readFileSync(join(state, 'token'), 'utf8').trim();
    const answer = await call(
      { url: `http://127.0.0.1:${port}`, token },
      '/v1/chat/completions',
      question({ max_tokens: 4 }),
    );
    assert.equal(answer.status, 200, 'the next request');
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
});

test('/health is 503 until the token is written, and nothing is announced before it is 200', async () => {
  using copy = copyInstallation(true);
  const write = 'state.publishToken(this.#tokens.personal);';
  editCode(
    join(copy.path, 'src', 'supervisor', 'server.ts'),
    write,
    `await new Promise((resolve) => setTimeout(resolve, 2000)); ${write}`,
  );
  // The gateway reads what the supervisor says half a second late.
  editCode(
    join(copy.path, 'src', 'gateway', 'lifecycle.ts'),
    'supervisor.receive(chunk);',
    'const late = Buffer.from(chunk); setTimeout(() => { supervisor.receive(late); }, 500);',
  );
  const port = await freePort();
  const { process: child, state, output, ended } = launch({ repository: copy.path, args: ['--port', String(port)] });
  try {
    const end = Date.now() + 60_000;
    for (let starting = 0; ;) {
      const announced = existsSync(join(state, 'server.json')) || /\(ready in/.test(output());
      const status = (await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined))?.status;
      if (status === 503) starting += 1;
      if (status === 200) {
        assert.ok(existsSync(join(state, 'token')), '/health said ok without a token');
        assert.ok(starting > 10, `/health said only ${starting} times that the server starts`);
        break;
      }
      assert.equal(announced, false, `it was announced, and /health said ${status}`);
      assert.ok(Date.now() < end && child.exitCode === null, output());
      await sleep(50);
    }
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
});

test('two servers cannot share a state folder, and the second one says what to do', async () => {
  const server = await startServer();
  const second = launch({ args: ['--state', server.state] });
  assert.equal((await second.ended).code, 1);
  assert.match(second.output(), /already runs.*\n.*next: /);
  await server.stop();
});

test('L6-17 the event log holds codes, counts and times only', async () => {
  const server = await startServer();
  await call(server, '/v1/chat/completions', {
    model: 'guide',
    messages: [{ role: 'user', content: 'canary-in-the-log-4711' }],
    max_tokens: 4,
  });
  const log = readFileSync(join(server.state, 'events.jsonl'), 'utf8');
  for (const line of log.trim().split('\n')) {
    for (const key of Object.keys(JSON.parse(line) as object))
      assert.ok(['at', 'code', 'role', 'pid', 'count', 'signal'].includes(key), key);
  }
  assert.ok(!log.includes('canary') && !server.output().includes('canary'));
  await server.stop();
});
