/**
 * Layer 5, everywhere else that words could go: swap, core files, histories, the page, debug routes, devices, quotas.
 * Needs root: reads the state of processes that are not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatusAnswer } from '../../src/cli/status.ts';
import { canaryOf, filesBelow } from '../support/mixed.ts';
import type { Server } from '../support/server.ts';
import { alive, call, root, startServer, tree, until } from '../support/server.ts';

const ask = async (server: Server, content: string, more: object = {}, session = 'new') => {
  const response = await call(server, '/v1/chat/completions', { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content }], ...more }, { headers: { 'kwyre-session': session } });
  return { status: response.status, text: await response.text(), head: response.headers };
};

async function withServer(use: (server: Server) => Promise<void>, args: readonly string[] = []): Promise<void> {
  const server = await startServer({ args });
  try {
    await use(server);
  } finally {
    await server.stop();
  }
}

/** A stream that goes on until somebody ends it. */
async function openStream(server: Server, content: string): Promise<{ ended: Promise<unknown> }> {
  const response = await call(server, '/v1/chat/completions', { model: 'guide', stream: true, max_tokens: 3500, temperature: 1.7, messages: [{ role: 'user', content }] });
  const reader = response.body!.getReader();
  await reader.read();
  return { ended: (async () => { while (!(await reader.read()).done); })().catch(() => undefined) };
}

test('L5-10 nothing of any process is in swap; what the status says is what the kernel says (with swap: test/unit/supervisor/memory.test.ts)', async () => {
  await withServer(async (server) => {
    await ask(server, canaryOf());
    for (const [role, pid] of Object.entries(server.pids())) assert.match(readFileSync(`/proc/${pid}/status`, 'latin1'), /^VmSwap:\s+0 kB$/m, role);
    const { layers } = (await (await call(server, '/kwyre/status')).json()) as StatusAnswer;
    const checks = Object.fromEntries(layers.find(({ layer }) => layer === 5)!.checks.map(({ id, status }) => [id, status]));
    const none = /^Filename[^\n]*\n$/.test(readFileSync('/proc/swaps', 'latin1'));
    assert.deepEqual([checks['swap'], checks['sealing'], checks['idle']], [none ? 'enforced' : 'degraded', 'enforced', 'enforced']);
    const engine = readFileSync(`/proc/${server.pids()['engine']!}/status`, 'latin1');
    assert.ok(Number(/^VmLck:\s+(\d+) kB$/m.exec(engine)?.[1]) > 0, 'keys and work memory are locked');
  });
});

test('L5-02 L5-11 no core file, heap snapshot or report: not by SIGABRT, not by the signals that make Node write one', async () => {
  await withServer(async (server) => {
    const canary = canaryOf();
    const before = new Set([...filesBelow(server.state), ...readdirSync('/').map((name) => `/${name}`)]);
    // The roles' limit cannot be raised again; the supervisor holds no word of a conversation.
    for (const [role, pid] of Object.entries(server.pids())) if (role !== 'supervisor') assert.match(readFileSync(`/proc/${pid}/limits`, 'latin1'), /^Max core file size\s+0\s+0\s/m, role);
    const engine = server.pids()['engine']!;
    const { ended } = await openStream(server, canary);
    assert.doesNotMatch(readFileSync(`/proc/${engine}/cmdline`, 'latin1'), /heapsnapshot|report|inspect|diagnostic-dir/);
    process.kill(engine, 'SIGABRT');
    await ended;
    await until('the engine to end', () => !alive(engine), 2000);
    await until('a fresh pair', () => server.pids()['engine'] !== undefined && server.pids()['gateway'] !== undefined, 10_000);
    const made = [...filesBelow(server.state), ...readdirSync('/').map((name) => `/${name}`)].filter((name) => !before.has(name) && /core|heapsnapshot|report|\.json$/.test(name));
    assert.deepEqual(made, []);
    for (const file of filesBelow(server.state)) assert.ok(!readFileSync(file).includes(canary), file);
  });
});

for (const signals of [['SIGINT'], ['SIGHUP'], ['SIGQUIT'], ['SIGTERM', 'SIGTERM'], ['SIGINT', 'SIGTERM']] as const) {
  test(`L5-13 ${signals.join(' and ')} in the middle of an answer: every process is gone within a second, once and for all`, async (t) => {
    const server = await startServer();
    const { ended } = await openStream(server, canaryOf());
    const pids = tree(server.pid);
    const began = performance.now();
    for (const signal of signals) process.kill(server.pid, signal);
    await ended;
    await until('every process to end', () => pids.every((pid) => !alive(pid)), 3000);
    t.diagnostic(`${(performance.now() - began).toFixed(0)} ms`);
    assert.ok(performance.now() - began < 1500);
    await server.ended;
  });
}

for (const [how, command] of [['with a pipe', (chat: string) => ['/bin/sh', '-c', chat]], ['in a terminal', (chat: string) => ['script', '-qec', chat, '/dev/null']]] as const) {
  test(`L5-21 the chat ${how} writes no history: not in the home, not where it was started, not in the state folder; its second turn says how long its state stays`, async () => {
    await withServer(async (server) => {
      const home = mkdtempSync(join(tmpdir(), 'kwyre-home-'));
      chmodSync(home, 0o700);
      try {
        const canary = canaryOf();
        const [file, ...args] = command(`${join(root, 'kwyre')} chat --state ${server.state}`);
        const chat = spawn(file!, args, { cwd: home, env: { PATH: process.env['PATH'], HOME: home, TERM: 'xterm', NODE_REPL_HISTORY: join(home, 'history') }, stdio: ['pipe', 'pipe', 'inherit'] });
        let said = '';
        chat.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
        const ended = once(chat, 'close');
        await until('its first prompt', () => said.includes('you> '));
        chat.stdin.write(`${canary}\n`);
        await until('its second prompt', () => said.split('you> ').length > 2, 30_000);
        chat.stdin.write('and now?\n');
        await until('its second answer', () => said.includes('[went on'), 30_000);
        assert.match(said, /\[went on from the sealed state, \d+ tokens; it is wiped in (?:\d+ s|\d min) without another turn\]/);
        const shown = spawnSync(join(root, 'kwyre'), ['status', '--json', '--state', server.state], { encoding: 'utf8' });
        const { conversations } = JSON.parse(shown.stdout) as StatusAnswer;
        assert.deepEqual([conversations?.kept, conversations?.continued], [0, 1]);
        assert.ok(conversations!.longest_left_s > 500 && conversations!.longest_left_s <= 600);
        chat.stdin.end('\x04');
        await ended;
        assert.deepEqual(filesBelow(home), []);
        for (const name of filesBelow(server.state)) assert.ok(!readFileSync(name).includes(canary), name);
        assert.ok(!server.output().includes(canary));
      } finally {
        rmSync(home, { recursive: true });
      }
    });
  });
}

test('L5-22 L5-23 L5-24 L5-29 the page stores nothing, answers are not to be stored, no debug route exists, none writes a file', async () => {
  await withServer(async (server) => {
    const canary = canaryOf();
    const { head } = await ask(server, canary);
    assert.equal(head.get('cache-control'), 'no-store');
    for (const path of ['/', '/app.js']) {
      const page = await call(server, path);
      assert.equal(page.headers.get('cache-control'), 'no-store', path);
      assert.doesNotMatch(await page.text(), /localStorage|sessionStorage|indexedDB|serviceWorker|caches\.|history\.(?:push|replace)State\([^)]*value/, path);
    }
    const before = filesBelow(server.state);
    for (const path of ['/slots', '/props', '/debug', '/metrics', '/slots/0', '/v1/internal/slots', '/lora-adapters', '/tokenize', '/slots/0?action=save']) {
      const got = await call(server, path);
      assert.ok(!(await got.text()).includes(canary), path);
      if (path !== '/metrics') assert.ok(got.status >= 400, path);
      const saved = await call(server, path, { filename: '../../canary', action: 'save', prompt: canary });
      assert.ok(saved.status >= 400, path);
      assert.ok(!(await saved.text()).includes(canary), path);
    }
    assert.ok(!(await (await call(server, '/kwyre/status')).text()).includes(canary));
    assert.deepEqual(filesBelow(server.state), before);
    // L5-29: sizes of packets are seen on this machine only; the one listener is 127.0.0.1 (L1-16).
  });
});

test('L5-25 L5-26 no device of a graphics card is open or mapped; after a pause sixteen conversations go on with their own words', async () => {
  await withServer(async (server) => {
    for (const [role, pid] of Object.entries(server.pids())) {
      assert.doesNotMatch(readFileSync(`/proc/${pid}/maps`, 'latin1'), /\/dev\/(?:nvidia|dri|kfd)/, role);
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        let target = '';
        try {
          target = readlinkSync(`/proc/${pid}/fd/${fd}`);
        } catch {
          continue; // closed meanwhile
        }
        assert.doesNotMatch(target, /\/dev\/(?:nvidia|dri|kfd)/, role);
      }
    }
    const canaries = Array.from({ length: 16 }, canaryOf);
    const ids = await Promise.all(canaries.map(async (canary) => (await ask(server, canary)).head.get('kwyre-session') ?? ''));
    await sleep(3000);
    const items = await Promise.all(ids.map(async (id) => {
      assert.equal((await ask(server, 'and now?', {}, id)).status, 200);
      return await (await call(server, `/v1/conversations/${id}/items`)).text();
    }));
    for (const [i, text] of items.entries()) assert.deepEqual(canaries.filter((canary) => text.includes(canary)), [canaries[i]]);
  });
});

test('L5-27 one token holds 12,000 idle conversations and the server stays up; the next one is refused, no other is touched', async (t) => {
  await withServer(async (server) => {
    const memory = () => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pids()['engine']!}/status`, 'latin1'))?.[1]) * 1024;
    const ids: string[] = [];
    const before = memory();
    let next = 0;
    await Promise.all(Array.from({ length: 32 }, async () => {
      while (next < 12_000) {
        const content = `words of ${next}`;
        next += 1;
        const made = await call(server, '/v1/conversations', { items: [{ type: 'message', role: 'user', content }] });
        assert.equal(made.status, 200);
        ids.push(((await made.json()) as { id: string }).id);
      }
    }));
    const each = (memory() - before) / ids.length;
    t.diagnostic(`${ids.length} idle conversations, ${each.toFixed(0)} bytes of memory each`);
    const refused = await call(server, '/v1/conversations', { items: [{ type: 'message', role: 'user', content: 'one more' }] });
    assert.equal(refused.status, 429);
    for (const id of [ids[0]!, ids[6000]!, ids.at(-1)!]) assert.match(await (await call(server, `/v1/conversations/${id}/items`)).text(), /words of \d+/);
    assert.equal((await call(server, '/v1/chat/completions', { model: 'guide', max_tokens: 2, messages: [{ role: 'user', content: 'hello' }] })).status, 200);
    const began = performance.now();
    assert.deepEqual(await (await call(server, '/kwyre/sessions', undefined, { method: 'DELETE' })).json(), { wiped: ids.length + 1 });
    t.diagnostic(`wiped in ${(performance.now() - began).toFixed(0)} ms`);
  });
});

test('L5-28 no memory is handed out as it was: the pools of Node are not used for anything of a conversation', () => {
  const sources = ['base', 'engine', 'gateway', 'layers/5-memory', 'wire'].flatMap((folder) => filesBelow(join(root, 'src', folder)));
  for (const file of sources) assert.doesNotMatch(readFileSync(file, 'utf8'), /Buffer\.allocUnsafe\(|new Buffer\(/, file);
});
