/**
 * Layer 2 around the supervisor: hostile code in its place, after its filter, can speak to nobody and look into nothing.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { asUser } from '../support/identity.ts';
import { call, root, startServer, until } from '../support/server.ts';

const needed = ['what it needs: a pair', 'what it needs: a child'];

async function attack(uid: number | undefined, ...more: string[]): Promise<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-unix-'));
  const path = join(folder, 'socket');
  const services = [createServer().listen(0, '127.0.0.1'), createServer().listen(path)];
  await Promise.all(services.map((service) => new Promise((resolve) => service.once('listening', resolve))));
  const { port } = services[0]!.address() as { port: number };
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', join(root, 'test/attacks/entries/hostile-supervisor.ts'), String(port), path, ...more];
  const [file = '', ...args] = uid === undefined ? command : asUser(uid, command);
  const child = spawn(file, args, { env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let noise = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (noise += chunk.toString()));
  const ended = new Promise((resolve) => child.once('close', resolve));
  const late = setTimeout(() => child.kill('SIGKILL'), 30_000);
  await ended;
  clearTimeout(late);
  for (const service of services) service.close();
  rmSync(folder, { recursive: true });
  assert.notEqual(output, '', noise);
  return JSON.parse(output) as Record<string, string>;
}

for (const [who, uid] of [['who runs the tests', undefined], ['an ordinary user', 61_234]] as const) {
  test(`L2-01 to L2-07, L2-23 a hostile supervisor of ${who} reaches nothing`, async (t) => {
    if (uid !== undefined && process.getuid?.() !== 0) {
      t.diagnostic('covered by the test above: an ordinary user runs these');
      return;
    }
    const answers = await attack(uid);
    for (const name of needed) assert.equal(answers[name], 'ok', name);
    for (const [name, answer] of Object.entries(answers)) {
      if (needed.includes(name)) continue;
      assert.match(answer, name.startsWith('dns') ? /^(EPERM|ECONNREFUSED|ESERVFAIL|ETIMEOUT|EAI_\w+|nothing was sent)$/ : name === 'io_uring' ? /^(ENOSYS|EPERM)$/ : /^EPERM$/, `${name}: ${answer}`);
    }
  });
}

test('the attacks are real: without the filter they get out', async () => {
  const answers = await attack(undefined, 'free');
  assert.equal(Object.keys(answers).length, 7);
  for (const [name, answer] of Object.entries(answers)) assert.equal(answer, 'ok', name);
});

test('the running server puts it on once every lock was tried alone, and starts fresh pairs under it', async () => {
  const server = await startServer();
  try {
    const seen = async () => {
      const status = (await (await call(server, '/kwyre/status')).json()) as { layers: { layer: number; checks: { id: string; evidence: string }[] }[] };
      return status.layers.find((layer) => layer.layer === 2)!.checks.find((check) => check.id === 'supervisor.confined')!.evidence;
    };
    let evidence = '';
    for (let i = 0; i < 60 && !evidence.includes('no connection'); i += 1) {
      await sleep(250);
      evidence = await seen();
    }
    assert.match(evidence, /no connection/);
    process.kill(server.pids()['engine']!, 'SIGKILL');
    await until('a fresh pair', () => server.output().includes('1 of 3 this hour'));
    const answer = await call(server, '/v1/chat/completions', { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content: 'hello' }] });
    assert.equal(answer.status, 200);
    assert.equal((await server.stop()).code, 0);
  } finally {
    server.kill();
  }
});
