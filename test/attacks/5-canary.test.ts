/**
 * Layer 5, as far as it stands: after conversations ended, no process of a real server holds their text or tokens.
 * Needs root: reads the memory of processes that are not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { describeScan, scanProcess } from '../../src/cli/prove/memory-scanner.ts';
import { call, startServer } from '../support/server.ts';
import { countRuns, tokenRuns } from '../support/tokens.ts';

const conversations = 100;

test('L5-01 L5-02 L5-05 100 conversations with canaries: 0 copies of text or token runs in any process afterwards', async (t) => {
  const server = await startServer();
  try {
    const canaries = Array.from({ length: conversations }, () => `canary${randomBytes(9).toString('hex')}tail`);
    const run = async (canary: string, index: number) => {
      const streamed = index % 2 === 0;
      const response = await call(server, '/v1/chat/completions', {
        model: 'guide',
        stream: streamed,
        max_tokens: 24,
        messages: [
          { role: 'system', content: `Remember ${canary}\n"quoted"` },
          { role: 'user', content: [{ type: 'text', text: `What does layer 5 do? ${canary} \u00fc` }] },
        ],
        stop: [`${canary}!`],
        user: canary,
        metadata: { note: canary },
      });
      assert.equal(response.status, 200);
      await response.text();
    };
    for (let at = 0; at < conversations; at += 4)
      await Promise.all(canaries.slice(at, at + 4).map((canary, i) => run(canary, at + i)));
    await call(server, '/v1/chat/completions', {
      model: 'guide',
      messages: [{ role: 'user', content: 'The end.' }],
      max_tokens: 2,
    }).then((response) => response.text());
    await sleep(500);
    const runs = await tokenRuns(canaries.slice(0, 20));
    for (const [role, pid] of Object.entries(server.pids())) {
      const scan = scanProcess(pid, canaries);
      t.diagnostic(`${role}: ${describeScan(scan)}`);
      assert.equal(
        scan.total,
        0,
        `${role}: ${scan.hits
          .slice(0, 5)
          .map((hit) => `${hit.form} in ${hit.region} at ${hit.address.toString(16)}: ${hit.context}`)
          .join('\n')}`,
      );
      const tokens = countRuns(pid, runs);
      t.diagnostic(`${role}: ${tokens} of ${runs.length} token runs`);
      assert.equal(tokens, 0, `${role} holds token runs`);
    }
  } finally {
    await server.stop();
  }
});

test('L5-01 the scan finds what is there: a conversation that is being held shows up in the engine or the gateway', async (t) => {
  const server = await startServer();
  try {
    const canary = `canary${randomBytes(9).toString('hex')}tail`;
    // A body that never ends: its first part is in memory while the client waits.
    const body = JSON.stringify({ model: 'guide', messages: [{ role: 'user', content: canary }] });
    const abort = new AbortController();
    const pending = fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      signal: abort.signal,
      headers: {
        authorization: `Bearer ${server.token}`,
        'content-type': 'application/json',
        'content-length': String(body.length + 100),
      },
      duplex: 'half',
      body: new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(body));
        },
      }),
    }).catch(() => undefined);
    await sleep(700);
    const found = Object.values(server.pids()).reduce((sum, pid) => sum + scanProcess(pid, [canary]).total, 0);
    t.diagnostic(`${found} copies while the request is open`);
    assert.ok(found > 0);
    abort.abort();
    await pending;
    await sleep(500);
    for (const [role, pid] of Object.entries(server.pids()))
      assert.equal(scanProcess(pid, [canary]).total, 0, `${role} after the client went away`);
  } finally {
    await server.stop();
  }
});
