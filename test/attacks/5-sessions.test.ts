/**
 * Layer 5 between turns and after the end, attacked at a real server: memory of every process, ids, keys, ciphertext.
 * Needs root: reads the memory of processes that are not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { engineRoutes } from '../../src/wire/messages.ts';
import type { EngineProcess } from '../support/engine.ts';
import { served } from '../support/engine.ts';
import { describeScan, presentRuns, regionsOf, scanProcess } from '../../src/cli/prove/memory-scanner.ts';
import { scratch } from '../support/native.ts';
import { writeModel, tinyShape } from '../support/gguf.ts';
import type { Server } from '../support/server.ts';
import { call, root, startServer } from '../support/server.ts';
import { biasOf, countRuns, countRunsIn, endTokens, memoryOf, tokenRuns, tracesOf } from '../support/tokens.ts';
import { assertWithin } from '../support/time-bounds.ts';

const folder = scratch();
const canaryOf = () => `canary${randomBytes(9).toString('hex')}tail`;

async function ask(
  server: Server,
  content: string,
  session: string | undefined,
  more: object = {},
): Promise<{ status: number; id: string; code: string | undefined; text: string }> {
  const response = await call(
    server,
    '/v1/chat/completions',
    { model: 'guide', max_tokens: 16, messages: [{ role: 'user', content }], ...more },
    session === undefined ? {} : { headers: { 'kwyre-session': session } },
  );
  const text = await response.text();
  return {
    status: response.status,
    id: response.headers.get('kwyre-session') ?? '',
    code: text.startsWith('{') ? (JSON.parse(text) as { error?: { code: string } }).error?.code : undefined,
    text,
  };
}

/** Pieces of memory that are there now and were not before. */
function fresh(pid: number, before: ReadonlySet<bigint>): Buffer[] {
  const pieces: Buffer[] = [];
  for (const { bytes, address } of memoryOf(pid)) {
    for (let at = 0; at + 4096 <= bytes.length; at += 4096)
      if (!before.has(address + BigInt(at))) pieces.push(bytes.subarray(at, at + 4096));
  }
  return pieces;
}

/** Sealed bytes look like chance, code and tables do not: the sum of squares over 256 values is near 255. */
function looksRandom(page: Buffer): boolean {
  const counts = new Float64Array(256);
  for (const byte of page) counts[byte]! += 1;
  const expected = page.length / 256;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0) < 400;
}

function pagesOf(pid: number): Set<bigint> {
  const pages = new Set<bigint>();
  for (const { bytes, address } of memoryOf(pid))
    for (let at = 0; at < bytes.length; at += 4096) pages.add(address + BigInt(at));
  return pages;
}

test('L5-01 L5-05 L5-18 L5-30 L5-32 between the turns of 50 open conversations: no word, no token run, no piece of the KV state in any process; in the middle of a turn all three', async (t) => {
  const server = await startServer();
  try {
    const canaries = Array.from({ length: 50 }, canaryOf);
    const question = (canary: string) => `What does layer 5 do? ${canary} and the other layers?`;
    const ids: string[] = [];
    for (const [i, canary] of canaries.entries()) {
      // Half of them have an id, the others are recognised by their history.
      const { status, id } = await ask(server, question(canary), i % 2 === 0 ? 'new' : undefined);
      assert.equal(status, 200);
      if (i % 2 === 0) ids.push(id);
    }
    for (const [i, id] of ids.entries())
      assert.equal((await ask(server, `And again: ${canaries[2 * i]!}`, id)).status, 200);
    const listed = (await (await call(server, '/kwyre/sessions')).json()) as { data: { bytes: number }[] };
    assert.equal(listed.data.length, 50);
    assert.ok(
      listed.data.every((entry) => entry.bytes > 4096),
      'each holds its sealed state',
    );

    const runs = await tokenRuns(canaries.slice(0, 20));
    const { state: windows } = await tracesOf([{ role: 'user', content: question(canaries[1]!) }]);
    assert.ok(windows.length > 100);
    await sleep(500);
    let hidden = 0;
    for (const [role, pid] of Object.entries(server.pids())) {
      const scan = scanProcess(pid, canaries);
      t.diagnostic(
        `${role} between turns: ${describeScan(scan)}; ${countRuns(pid, runs)} of ${runs.length} token runs, ${countRuns(pid, windows)} of ${windows.length} KV windows`,
      );
      assert.equal(
        scan.total,
        0,
        `${role}: ${scan.hits
          .slice(0, 5)
          .map((hit) => `${hit.form} in ${hit.region} at ${hit.address.toString(16)}: ${hit.context}`)
          .join('\n')}`,
      );
      assert.equal(countRuns(pid, runs), 0, `${role} holds token runs`);
      assert.equal(countRuns(pid, windows), 0, `${role} holds KV windows`);
      const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
      for (const region of regionsOf(pid))
        if (scan.unreadable.includes(region.name) && !region.name.startsWith('[v'))
          hidden += presentRuns(pagemap, region).reduce((sum, run) => sum + run.length, 0);
      closeSync(pagemap);
    }
    t.diagnostic(`${hidden} bytes cannot be read`);
    assert.ok(hidden > 0 && hidden <= 64 << 10);

    // The positive control: the same needles in the middle of a turn, the engine held still for a moment.
    const engine = server.pids()['engine']!;
    const abort = new AbortController();
    const response = await call(
      server,
      '/v1/chat/completions',
      {
        model: 'guide',
        stream: true,
        max_tokens: 2000,
        logit_bias: biasOf(await endTokens()),
        messages: [{ role: 'user', content: question(canaries[1]!) }],
      },
      { headers: { 'kwyre-session': 'new' }, signal: abort.signal },
    );
    await response.body!.getReader().read();
    process.kill(engine, 'SIGSTOP');
    let seen = [0, 0, 0];
    try {
      seen = [
        scanProcess(engine, [canaries[1]!]).total,
        countRuns(engine, await tokenRuns([canaries[1]!])),
        countRuns(engine, windows),
      ];
    } finally {
      process.kill(engine, 'SIGCONT');
    }
    abort.abort();
    t.diagnostic(
      `in the middle of a turn: ${seen[0]!} words, ${seen[1]!} token runs, ${seen[2]!} of ${windows.length} KV windows`,
    );
    assert.ok(
      seen.every((count) => count > 0),
      'the scan finds what is there',
    );
  } finally {
    await server.stop();
  }
});

/** Does something while a process is held still. */
function still<T>(pid: number, act: () => T): T {
  process.kill(pid, 'SIGSTOP');
  try {
    return act();
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

test('L5-30 the control of the forms: token ids of a process are found as 32-bit and 64-bit numbers, as in a plain array, and as floats', async () => {
  const runs = await tokenRuns([canaryOf()]);
  const [narrow] = runs;
  const ids = Array.from({ length: narrow!.length / 4 }, (_, i) => narrow!.readInt32LE(4 * i));
  const other = spawn(
    process.execPath,
    [
      '-e',
      `const list = '${ids.join()}'.split(',').map(Number); const kept = [list, Int32Array.from(list), Float64Array.from(list)]; console.log('ready'); setInterval(() => kept.length, 1000);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  try {
    await once(other.stdout, 'data');
    assert.equal(countRuns(other.pid!, runs), 3);
  } finally {
    other.kill('SIGKILL');
  }
});

for (const [how, args] of [
  ['a DELETE', []],
  ['its end with --continue off', ['--continue', 'off']],
] as const) {
  test(`L5-05 L5-30 after ${how}: no piece of the KV state, no row of the embeddings of its tokens, no logits; in the middle of the turn all three`, async (t) => {
    const server = await startServer({ args });
    try {
      const canary = canaryOf();
      const messages = [{ role: 'user', content: `What does layer 5 do? ${canary} and the other layers?` }];
      const banned = await endTokens();
      const { state, rows, logits } = await tracesOf(messages, { answer: 800, banned });
      const needles = { 'KV state': state, embeddings: rows, logits, tokens: await tokenRuns([canary]) };
      const look = (pid: number) =>
        Object.fromEntries(Object.entries(needles).map(([name, windows]) => [name, countRuns(pid, windows)]));
      const engine = server.pids()['engine']!;
      const body = { model: 'guide', stream: true, temperature: 0, logit_bias: biasOf(banned), messages };
      const headers = args.length === 0 ? { 'kwyre-session': 'new' } : {};
      const abort = new AbortController();
      const running = await call(
        server,
        '/v1/chat/completions',
        { ...body, max_tokens: 800 },
        { headers, signal: abort.signal },
      );
      await running.body!.getReader().read();
      // Copied first: on a busy machine a search takes long, and an engine that is held still for it ends everything.
      const memory = still(engine, () => [...memoryOf(engine)].map(({ bytes }) => bytes));
      const seen = Object.fromEntries(
        Object.entries(needles).map(([name, windows]) => [name, countRunsIn(memory, windows)]),
      );
      // Embeddings stand there for the first moments of a step only: long prompts, one after another, and several
      // looks.
      const long = [{ role: 'user', content: `${messages[0]!.content} `.repeat(24) }];
      const asking = Array.from({ length: 4 }, async () => {
        while (!abort.signal.aborted)
          await call(server, '/v1/chat/completions', { ...body, max_tokens: 1, messages: long }, { headers }).then(
            async (response) => await response.text(),
            () => undefined, // a connection that closed as it was used again: this is only load
          );
      });
      for (let tries = 0; seen['embeddings'] === 0 && tries < 250; tries += 1) {
        await sleep(7 * (tries % 5)); // it is not held still so often: the watchdog would take it for stopped
        seen['embeddings'] = countRuns(engine, rows);
      }
      t.diagnostic(
        `in the middle: ${Object.entries(needles)
          .map(([name, windows]) => `${name} ${seen[name]!} of ${windows.length}`)
          .join(', ')}`,
      );
      abort.abort();
      await Promise.all(asking);
      for (const [name, count] of Object.entries(seen)) assert.ok(count > 0, `${name}: the scan finds what is there`);

      const whole = await call(server, '/v1/chat/completions', { ...body, max_tokens: 100 }, { headers });
      assert.match(await whole.text(), /\[DONE\]/);
      if (args.length === 0)
        assert.equal((await call(server, '/kwyre/sessions', undefined, { method: 'DELETE' })).status, 200);
      assert.deepEqual(((await (await call(server, '/kwyre/sessions')).json()) as { data: unknown[] }).data, []);
      await sleep(500);
      for (const [role, pid] of Object.entries(server.pids()))
        assert.deepEqual(look(pid), Object.fromEntries(Object.keys(needles).map((name) => [name, 0])), role);
    } finally {
      await server.stop();
    }
  });
}

test('L5-17 L5-19 L5-20 after a wipe no ciphertext is left, nothing stands in the logs, and the id is unknown', async (t) => {
  const server = await startServer();
  try {
    const canary = canaryOf();
    await ask(server, 'Warm up, please.', 'new');
    await call(server, '/kwyre/sessions', undefined, { method: 'DELETE' }).then((response) => response.text());
    await sleep(500);
    const engine = server.pids()['engine']!;
    const before = pagesOf(engine);
    const ids: string[] = [];
    for (let i = 0; i < 10; i += 1) ids.push((await ask(server, `${canary} ${i} what is layer 5?`, 'new')).id);
    await sleep(500);
    const windows = fresh(engine, before)
      .filter(looksRandom)
      .map((page) => page.subarray(1024, 1088));
    assert.ok(windows.length > 10);
    const found = countRuns(engine, windows);
    assert.ok(found > windows.length / 2, 'the pages are there before');
    const wiped = await call(server, '/kwyre/sessions', undefined, { method: 'DELETE' });
    assert.deepEqual(await wiped.json(), { wiped: 10 });
    const left = countRuns(engine, windows);
    t.diagnostic(`${found} pieces of ciphertext before the wipe, ${left} afterwards`);
    assert.equal(left, 0);
    for (const id of ids) assert.deepEqual([(await ask(server, 'again', id)).status], [404]);
    assert.ok(
      !server.output().includes(canary) && !readFileSync(join(server.state, 'events.jsonl'), 'utf8').includes(canary),
    );
  } finally {
    await server.stop();
  }
});

test("L5-08 L5-09 a foreign id, an unknown one and one of another form get the same 404; ids are the server's", async () => {
  const server = await startServer();
  try {
    const made = spawnSync(join(root, 'kwyre'), ['token', 'add', 'other', '--json', '--state', server.state], {
      encoding: 'utf8',
    });
    const other = { url: server.url, token: (JSON.parse(made.stdout) as { token: string }).token };
    await sleep(1200);
    const { id } = await ask(server, 'hello', 'new');
    assert.match(id, /^conv_[0-9a-f]{32}$/);
    const answers: string[] = [];
    for (const name of [id, `conv_${'0'.repeat(32)}`, 'case-001', `conv_${id.slice(5, 9)}`]) {
      const response = await call(
        other,
        '/v1/chat/completions',
        { model: 'guide', messages: [{ role: 'user', content: 'x' }] },
        { headers: { 'kwyre-session': name } },
      );
      answers.push(`${response.status} ${await response.text()}`);
      for (const [path, method] of [
        [`/v1/conversations/${name}`, 'GET'],
        [`/v1/conversations/${name}`, 'DELETE'],
        [`/kwyre/sessions/${name}`, 'GET'],
        [`/kwyre/sessions/${name}`, 'DELETE'],
        [`/v1/conversations/${name}/items`, 'GET'],
      ] as const) {
        const answer = await call(other, path, undefined, { method });
        assert.equal(answer.status, 404, `${method} ${path}`);
        answers.push(`404 ${await answer.text()}`);
      }
    }
    assert.equal(new Set(answers).size, 1, [...new Set(answers)].join('\n'));
    assert.deepEqual(((await (await call(other, '/kwyre/sessions')).json()) as { data: unknown[] }).data, []);
    assert.equal((await ask(server, 'still there?', id)).status, 200);
  } finally {
    await server.stop();
  }
});

test('L5-17 root gets an error where the keys are, and not a byte', async (t) => {
  const server = await startServer();
  try {
    await ask(server, 'hello', 'new');
    const engine = server.pids()['engine']!;
    const line = readFileSync(`/proc/${engine}/maps`, 'latin1')
      .split('\n')
      .find((text) => text.includes('secretmem'));
    assert.ok(line !== undefined, 'the arena is secret memory');
    const address = BigInt(`0x${line.split('-')[0]!}`);
    const memory = openSync(`/proc/${engine}/mem`, 'r');
    try {
      assert.throws(
        () => readSync(memory, Buffer.alloc(32), 0, 32, address),
        (error: NodeJS.ErrnoException) => {
          t.diagnostic(`read of the keys: ${error.code ?? ''}`);
          return error.code === 'EIO' || error.code === 'EFAULT';
        },
      );
    } finally {
      closeSync(memory);
    }
  } finally {
    await server.stop();
  }
});

test('L5-15 L5-16 a wipe under a stream ends it; what is idle for too long is 410 for its owner; ./kwyre wipe wipes', async (t) => {
  const server = await startServer({ args: ['--idle', '2s'] });
  try {
    const ends = biasOf(await endTokens());
    const { id } = await ask(server, 'hello', 'new');
    const streaming = ask(server, 'go on', id, { stream: true, max_tokens: 3000, logit_bias: ends });
    await sleep(300);
    const began = performance.now();
    const ran = spawnSync(join(root, 'kwyre'), ['wipe', id, '--state', server.state], { encoding: 'utf8' });
    assert.equal(ran.stdout.trim(), '1 wiped: keys destroyed, content overwritten', ran.stderr);
    const { text } = await streaming;
    t.diagnostic(`ended ${(performance.now() - began).toFixed(0)} ms after the command began`);
    assert.match(text, /"code":"session_gone"/);
    assert.ok(!text.includes('[DONE]'));

    const second = await ask(server, 'hello', 'new');
    await sleep(4000);
    assert.deepEqual(
      [(await ask(server, 'again', second.id)).status, (await ask(server, 'again', second.id)).code],
      [410, 'session_gone'],
    );
  } finally {
    await server.stop();
  }
});

type Said = { readonly role: string; readonly content: readonly [{ readonly text: string }] };

test('L5-06 2,000 interleaved conversations on 16 sequences, with evictions, aborts and resumptions: no foreign word in any, and the answers of each are those it gets alone', async (t) => {
  const path = join(folder, 'noise.gguf');
  chmodSync(folder, 0o755);
  writeModel(path, tinyShape);
  const principal = Buffer.alloc(16, 1);
  const say = (content: string) => ({
    model: 'test',
    stream: true,
    max_tokens: 6,
    temperature: 0,
    messages: [{ role: 'user', content }],
  });
  const itemsOf = async (engine: EngineProcess, session: string) =>
    await engine.ask({ principal, route: engineRoutes.itemsList, parameter: `conv_${session}` }).answer;
  /** What every third conversation came to that was resumed. */
  const sample: Said[][] = [];
  await served(
    { model: path, config: { parallel: 16, contextTokens: 256, sealedBytes: 480 << 10, continueSeconds: 600 } },
    async (engine) => {
      let gone = 0;
      let aborted = 0;
      let turns = 0;
      const one = async (index: number) => {
        const marker = `m${index}x${randomBytes(4).toString('hex')}`;
        let session = 'new';
        let said: Said[] = [];
        for (let turn = 0; turn < 3; turn += 1) {
          // The last question is everybody's: what differs in its answer comes from what is remembered.
          const exchange = engine.ask({ principal, session, body: say(turn < 2 ? `${marker} ${turn}` : 'and then?') });
          if (index % 7 === 3 && turn === 1) {
            await exchange.first;
            exchange.abort();
            aborted += 1;
            continue;
          }
          const answer = await exchange.answer;
          if (answer.status === 410) {
            gone += 1;
            break;
          }
          if (answer.status === 409) continue; // its aborted turn was not over yet
          assert.equal(answer.status, 200, answer.text);
          turns += 1;
          session = answer.session ?? session;
          const items = await itemsOf(engine, session);
          if (items.status !== 200) continue;
          said = (JSON.parse(items.text) as { data: Said[] }).data;
          for (const { role, content } of said)
            if (role === 'user')
              assert.ok(content[0].text.startsWith(marker) || content[0].text === 'and then?', 'a foreign word');
          assert.doesNotMatch(answer.text, new RegExp(`m(?!${index}x)\\d+x[0-9a-f]{8}`));
        }
        if (index % 3 === 0 && said.length > 2) sample.push(said);
      };
      for (let at = 0; at < 2000; at += 40) await Promise.all(Array.from({ length: 40 }, (_, i) => one(at + i)));
      t.diagnostic(`${turns} turns, ${aborted} aborted, ${gone} conversations let go under pressure`);
      assert.ok(turns > 2000 && aborted > 100 && gone > 20);
    },
  );
  const last: string[] = [];
  await served({ model: path, config: { parallel: 1, contextTokens: 256 } }, async (alone) => {
    for (const said of sample) {
      let session = 'new';
      for (const {
        role,
        content: [{ text }],
      } of said)
        if (role === 'user')
          session = (await alone.ask({ principal, session, body: say(text) }).answer).session ?? session;
      const again = (JSON.parse((await itemsOf(alone, session)).text) as { data: Said[] }).data;
      const texts = (items: readonly Said[]) => items.map(({ role, content }) => `${role}: ${content[0].text}`);
      assert.deepEqual(texts(said), texts(again));
      if (said.at(-2)?.content[0].text === 'and then?') last.push(said.at(-1)!.content[0].text);
    }
  });
  t.diagnostic(
    `${sample.length} resumed conversations compared; ${new Set(last).size} different answers to ${last.length} equal questions`,
  );
  assert.ok(sample.length > 80 && new Set(last).size > last.length / 2, 'what is remembered decides the answer');
});

test('C20 the server ends within a second of a signal with 100 conversations open', async () => {
  const server = await startServer();
  for (let i = 0; i < 100; i += 1) await ask(server, `hello ${i}`, 'new', { max_tokens: 1 });
  const began = performance.now();
  const { code } = await server.stop();
  assertWithin('the end with 100 conversations open', performance.now() - began, 1500);
  assert.equal(code, 0);
});
