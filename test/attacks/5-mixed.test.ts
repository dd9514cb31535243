/**
 * Layer 5 after conversations of every kind: chat, streams, responses, aborted, refused, too long, broken, many at a
 * time. Needs root: reads the memory of processes that are not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scanProcess } from '../../src/cli/prove/memory-scanner.ts';
import { allEnded, canaryOf, converse, describeLeft, kinds, lookFor, sumOf } from '../support/mixed.ts';
import { call, startServer } from '../support/server.ts';

for (const [how, args] of [
  ['--continue off', ['--continue', 'off', '--idle', '3s']],
  ['sealed, after its time', ['--idle', '3s']],
] as const) {
  test(`L5-01 L5-03 L5-04 L5-31 L5-33 110 conversations of ${kinds.length} kinds, ${how}: nothing of them in any process, file or log`, async (t) => {
    const server = await startServer({ args });
    try {
      const said = await converse(server, 110, 25);
      t.diagnostic(JSON.stringify(said.statuses));
      assert.equal(said.hung, 0);
      assert.ok(
        said.responses.length > 50 && said.answers.length > 5,
        `${said.responses.length} ids, ${said.answers.length} answers`,
      );
      await allEnded(server, 15_000);
      const left = await lookFor(server, said);
      t.diagnostic(describeLeft(left));
      assert.equal(sumOf(left), 0, left.seen.join('\n'));
    } finally {
      await server.stop();
    }
  });
}

test('L5-31 the look finds what is there: in the middle of an answer its id (words and token runs: 5-sessions.test.ts)', async (t) => {
  const server = await startServer();
  try {
    const abort = new AbortController();
    const canary = canaryOf();
    const response = await call(
      server,
      '/v1/chat/completions',
      {
        model: 'guide',
        stream: true,
        max_tokens: 3500,
        temperature: 1.7,
        messages: [{ role: 'user', content: `${canary} what is layer 5?` }],
      },
      { signal: abort.signal },
    );
    const first = await response.body!.getReader().read();
    const id = /chatcmpl-[0-9a-f]{16,}/.exec(Buffer.from(first.value ?? []).toString())?.[0];
    assert.ok(id !== undefined);
    const engine = server.pids()['engine']!;
    process.kill(engine, 'SIGSTOP');
    let ids = 0;
    try {
      ids = scanProcess(engine, [{ name: id, bytes: Buffer.from(id) }]).total;
    } finally {
      process.kill(engine, 'SIGCONT');
    }
    t.diagnostic(`${ids} copies of the id`);
    assert.ok(ids > 0);
    abort.abort();
  } finally {
    await server.stop();
  }
});
