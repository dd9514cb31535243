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
import { call, root, startServer, until } from '../support/server.ts';

const ask = async (server: Server, content: string, more: object = {}, session = 'new') => {
  const response = await call(
    server,
    '/v1/chat/completions',
    { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content }], ...more },
    { headers: { 'kwyre-session': session } },
  );
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

test('L5-10 nothing of any process is in swap; what the status says is what the kernel says (with swap: test/unit/layers/layer-status.test.ts)', async () => {
  await withServer(async (server) => {
    await ask(server, canaryOf());
    for (const [role, pid] of Object.entries(server.pids()))
      assert.match(readFileSync(`/proc/${pid}/status`, 'latin1'), /^VmSwap:\s+0 kB$/m, role);
    const { layers } = (await (await call(server, '/kwyre/status')).json()) as StatusAnswer;
    const checks = Object.fromEntries(
      layers.find(({ layer }) => layer === 5)!.checks.map(({ id, status }) => [id, status]),
    );
    const none = /^Filename[^\n]*\n$/.test(readFileSync('/proc/swaps', 'latin1'));
    assert.deepEqual(
      [checks['swap'], checks['sealing'], checks['idle']],
      [none ? 'enforced' : 'degraded', 'enforced', 'enforced'],
    );
    const engine = readFileSync(`/proc/${server.pids()['engine']!}/status`, 'latin1');
    assert.ok(Number(/^VmLck:\s+(\d+) kB$/m.exec(engine)?.[1]) > 0, 'keys and work memory are locked');
  });
});

for (const [how, command] of [
  ['with a pipe', (chat: string) => ['/bin/sh', '-c', chat]],
  ['in a terminal', (chat: string) => ['script', '-qec', chat, '/dev/null']],
] as const) {
  test(`L5-21 the chat ${how} writes no history: not in the home, not where it was started, not in the state folder; its second turn says how long its state stays`, async () => {
    await withServer(async (server) => {
      const home = mkdtempSync(join(tmpdir(), 'kwyre-home-'));
      chmodSync(home, 0o700);
      try {
        const canary = canaryOf();
        const [file, ...args] = command(`${join(root, 'kwyre')} chat --state ${server.state}`);
        const chat = spawn(file!, args, {
          cwd: home,
          env: { PATH: process.env['PATH'], HOME: home, TERM: 'xterm', NODE_REPL_HISTORY: join(home, 'history') },
          stdio: ['pipe', 'pipe', 'inherit'],
        });
        let said = '';
        chat.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
        const ended = once(chat, 'close');
        await until('its first prompt', () => said.includes('you> '));
        chat.stdin.write(`${canary}\n`);
        await until('its second prompt', () => said.split('you> ').length > 2, 30_000);
        chat.stdin.write('and now?\n');
        await until('its second answer', () => said.includes('[reused'), 30_000);
        assert.match(
          said,
          /\[reused the encrypted state of the conversation, \d+ tokens; it is wiped after (?:\d+ s|\d min) without another turn\]/,
        );
        const shown = spawnSync(join(root, 'kwyre'), ['status', '--json', '--state', server.state], {
          encoding: 'utf8',
        });
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
      assert.doesNotMatch(
        await page.text(),
        /localStorage|sessionStorage|indexedDB|serviceWorker|caches\.|history\.(?:push|replace)State\([^)]*value/,
        path,
      );
    }
    const before = filesBelow(server.state);
    for (const path of [
      '/slots',
      '/props',
      '/debug',
      '/metrics',
      '/slots/0',
      '/v1/internal/slots',
      '/lora-adapters',
      '/tokenize',
      '/slots/0?action=save',
    ]) {
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
    const ids = await Promise.all(
      canaries.map(async (canary) => (await ask(server, canary)).head.get('kwyre-session') ?? ''),
    );
    await sleep(3000);
    const items = await Promise.all(
      ids.map(async (id) => {
        assert.equal((await ask(server, 'and now?', {}, id)).status, 200);
        return await (await call(server, `/v1/conversations/${id}/items`)).text();
      }),
    );
    for (const [i, text] of items.entries())
      assert.deepEqual(
        canaries.filter((canary) => text.includes(canary)),
        [canaries[i]],
      );
  });
});

test('L5-27 one token holds 12,000 idle conversations and the server stays up; the next one is refused, no other is touched', async (t) => {
  await withServer(async (server) => {
    const memory = () =>
      Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pids()['engine']!}/status`, 'latin1'))?.[1]) *
      1024;
    /** Makes so many; gives their ids. */
    const make = async (count: number): Promise<string[]> => {
      const made: string[] = [];
      let next = 0;
      await Promise.all(
        Array.from({ length: 32 }, async () => {
          while (next < count) {
            const content = `words of ${next}`;
            next += 1;
            const response = await call(server, '/v1/conversations', {
              items: [{ type: 'message', role: 'user', content }],
            });
            assert.equal(response.status, 200);
            made.push(((await response.json()) as { id: string }).id);
          }
        }),
      );
      return made;
    };
    const wipeAll = async () =>
      ((await (await call(server, '/kwyre/sessions', undefined, { method: 'DELETE' })).json()) as { wiped: number })
        .wiped;
    // What the engine needs for so many requests, whatever becomes of their conversations: its heap grows three times,
    // and no more.
    for (let round = 0; round < 3; round += 1) {
      await make(6000);
      await wipeAll();
    }
    const before = memory();
    const ids = await make(12_000);
    const { sealed_bytes: sealed } = (await (await call(server, '/kwyre/sessions')).json()) as { sealed_bytes: number };
    const [each, own] = [(memory() - before) / ids.length, sealed / ids.length];
    t.diagnostic(
      `${ids.length} idle conversations, ${each.toFixed(0)} bytes of memory each, ${own.toFixed(0)} of them sealed`,
    );
    assert.ok(own >= 4096 && each - own <= 4096, `${(each - own).toFixed(0)} bytes besides`);
    const refused = await call(server, '/v1/conversations', {
      items: [{ type: 'message', role: 'user', content: 'one more' }],
    });
    assert.equal(refused.status, 429);
    for (const id of [ids[0]!, ids[6000]!, ids.at(-1)!])
      assert.match(await (await call(server, `/v1/conversations/${id}/items`)).text(), /words of \d+/);
    assert.equal(
      (
        await call(server, '/v1/chat/completions', {
          model: 'guide',
          max_tokens: 2,
          messages: [{ role: 'user', content: 'hello' }],
        })
      ).status,
      200,
    );
    const began = performance.now();
    assert.equal(await wipeAll(), ids.length + 1);
    t.diagnostic(`wiped in ${(performance.now() - began).toFixed(0)} ms`);
  });
});
