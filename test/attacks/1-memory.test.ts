/**
 * Layer 1: what a conversation leaves in the memory of the gateway that carried it, on every way a request can go.
 * The whole memory of the living process is searched for each text as UTF-8, UTF-16, base64 and JSON escapes.
 * Needs root: reads the memory of a process that is not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { Gateway } from '../support/gateway.ts';
import { rawRequest, requestText, sleep, startGateway } from '../support/gateway.ts';
import { describeScan, patternsOf, scanProcess, Searcher } from '../../src/cli/prove/memory-scanner.ts';
import { assertWithin } from '../support/time-bounds.ts';

const canary = () => randomBytes(12).toString('hex');

test('the scanner finds what is there, in every form, and counts right', async () => {
  const needles = Array.from({ length: 100 }, () => `canary ${canary()} "é"`);
  const program = `
    const found = process.argv[1]; const hold = [Buffer.from(found), Buffer.from(found, 'utf16le'), ...[0, 1, 2].map((n) => Buffer.from(Buffer.from('x'.repeat(n) + found).toString('base64'))), Buffer.from([...found].map((c) => '\\\\u' + c.charCodeAt(0).toString(16).padStart(4, '0')).join(''))];
    const big = Buffer.alloc(300 << 20, 97); console.log('ready'); setInterval(() => hold.length + big.length, 1000);`;
  const child = spawn(process.execPath, ['-e', program, needles[50]!], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const scan = scanProcess(child.pid!, needles);
    assert.deepEqual([...new Set(scan.hits.map((hit) => hit.needle))], [50]);
    for (const form of ['utf8', 'utf16le', 'json-escaped'] as const) assert.ok(scan.counts[form] >= 1, form);
    assert.ok(scan.counts.base64 >= 3);
    assert.ok(scan.bytes > 300 << 20, `${scan.bytes} bytes`);
    assertWithin('a scan of 300 MB', scan.ms, 8000);
    console.log(`scanner: ${describeScan(scan)}`);
  } finally {
    child.kill();
  }
  const searcher = new Searcher(patternsOf(['abcabcabc', 'bcabcabcd']));
  const text = Buffer.from('abcabcabcabcabcd');
  const at: number[] = [];
  searcher.search(
    text,
    text.length,
    text.length,
    (pattern, where) => pattern.form === 'utf8' && at.push(pattern.needle * 100 + where),
  );
  assert.deepEqual(
    at.sort((a, b) => a - b),
    [0, 3, 6, 107],
  );
});

/** Posts a body that holds the text at its start, middle and end. */
async function converse(gateway: Gateway, text: string, filler: number): Promise<string> {
  const content = `${text} ${'z'.repeat(filler)} ${text} ${'y'.repeat(filler)} ${text}`;
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    body: `{"messages":[{"role":"user","content":"${content}"}]}`,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${gateway.token}` },
  });
  return await response.text();
}

async function counted(
  name: string,
  gateway: Gateway,
  prompts: readonly string[],
  replies: readonly string[] = [],
): Promise<void> {
  await sleep(200);
  const scan = scanProcess(gateway.pid, [...prompts, ...replies]);
  console.log(`gateway, ${name}: ${describeScan(scan)}`);
  assert.equal(
    scan.total,
    0,
    JSON.stringify(
      scan.hits.slice(0, 4).map((hit) => ({ ...hit, address: hit.address.toString(16) })),
      undefined,
      1,
    ),
  );
  assert.deepEqual(
    scan.unreadable.filter((region) => region !== '[vvar]'),
    [],
  );
}

test('100 conversations leave nothing in the gateway, prompt or answer, small or large, streamed or whole', async () => {
  const prompts: string[] = [];
  const replies: string[] = [];
  const gateway = await startGateway({
    keepBodies: false,
    script(turn) {
      const reply = canary();
      replies.push(reply);
      const stream = replies.length % 2 === 0;
      turn.head(200, stream ? 2 : 1);
      const filler = 'w'.repeat([0, 40, 3000, 200_000][replies.length % 4]!);
      for (let i = 0; i < 3; i += 1) turn.send(stream ? `data: {"d":"${reply}"}\n\n${filler}` : `"${reply}"${filler}`);
      turn.end();
    },
  });
  try {
    for (let i = 0; i < 100; i += 1) {
      const text = canary();
      prompts.push(text);
      const answer = await converse(gateway, text, [0, 30, 2000, 40_000, 400_000][i % 5]!);
      assert.ok(answer.includes(replies.at(-1)!));
    }
    await counted('100 conversations, all over', gateway, prompts, replies);
    const tiny = canary();
    await rawRequest(
      gateway.port,
      requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body: `"${tiny}"` }),
    );
    await counted('a body of 26 bytes', gateway, [tiny]);
  } finally {
    await gateway.stop();
  }
});

test('bodies that are refused leave nothing either', async () => {
  const gateway = await startGateway({ keepBodies: false });
  const texts: string[] = [];
  const sends: ((text: string) => Promise<unknown>)[] = [
    (text) =>
      rawRequest(
        gateway.port,
        requestText(gateway, { method: 'POST', target: '/v1/chat/completions', token: false, body: text }),
      ),
    (text) =>
      rawRequest(
        gateway.port,
        requestText(gateway, { method: 'POST', target: '/v1/chat/completions', host: 'evil.example', body: text }),
      ),
    (text) => rawRequest(gateway.port, requestText(gateway, { method: 'POST', target: '/nowhere', body: text })),
    (text) =>
      rawRequest(gateway.port, requestText(gateway, { method: 'POST', target: '/health', token: false, body: text })),
    (text) =>
      rawRequest(gateway.port, requestText(gateway, { method: 'GET', target: '/health', token: false, body: text })),
    (text) =>
      rawRequest(
        gateway.port,
        `${requestText(gateway, { method: 'POST', target: '/v1/chat/completions', headers: ['Content-Type: text/plain', `Content-Length: ${text.length}`] })}${text}`,
      ),
    (text) =>
      rawRequest(
        gateway.port,
        `${requestText(gateway, { method: 'POST', target: '/v1/chat/completions', headers: ['Content-Type: application/json', 'Transfer-Encoding: chunked'] })}${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`,
        { quietMs: 1200 },
      ),
    (text) =>
      rawRequest(
        gateway.port,
        `${requestText(gateway, { method: 'POST', target: '/v1/chat/completions', headers: ['Content-Type: application/json', 'Content-Length: 99999999'] })}${text}`,
        { quietMs: 1200 },
      ),
    (text) =>
      rawRequest(
        gateway.port,
        `${requestText(gateway, { method: 'POST', target: '/v1/chat/completions', headers: ['Content-Type: application/json', 'Content-Length: 99999999', 'Expect: 100-continue'] })}${text}`,
      ),
    (text) =>
      rawRequest(
        gateway.port,
        `${requestText(gateway, { method: 'POST', target: '/v1/chat/completions', headers: ['Content-Type: application/json', 'Content-Length: 2', 'Transfer-Encoding: chunked'] })}${text}`,
      ),
    (text) => rawRequest(gateway.port, `POST / HTTP/1.1\r\n\r\n${text}`),
    (text) => rawRequest(gateway.port, `${text}\r\n\r\n`),
  ];
  try {
    for (const filler of [0, 5000, 100_000]) {
      for (const send of sends) {
        const text = canary();
        texts.push(text);
        await send(`"${text} ${'z'.repeat(filler)} ${text}"`);
      }
    }
    assert.equal(gateway.turns.length, 0);
    await counted('36 refused bodies', gateway, texts);
  } finally {
    await gateway.stop();
  }
});

test('X-11 clients that go away at any point stop the work at once and leave nothing', async () => {
  const prompts: string[] = [];
  const replies: string[] = [];
  const aborted: number[] = [];
  let openedAt = 0;
  const gateway = await startGateway({
    keepBodies: false,
    script(turn) {
      const reply = canary();
      replies.push(reply);
      turn.head(200, 2);
      const tick = setInterval(() => {
        if (turn.aborted) {
          clearInterval(tick);
          aborted.push(performance.now() - openedAt);
        } else if (turn.credit > -1) turn.send(`data: ${reply} ${'w'.repeat(500)}\n\n`);
      }, 10);
    },
  });
  try {
    for (let i = 0; i < 20; i += 1) {
      const text = canary();
      prompts.push(text);
      const body = `"${text} ${'z'.repeat([0, 300_000][i % 2]!)} ${text}"`;
      const socket = connect(gateway.port, '127.0.0.1');
      socket.on('error', () => undefined);
      const whole = requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body });
      // In the middle of the body, right after it, while the answer streams, and with a reset.
      socket.write(i % 4 === 0 ? whole.slice(0, whole.length - 20) : whole);
      await sleep([20, 0, 80, 80][i % 4]);
      openedAt = performance.now();
      if (i % 3 === 0) socket.resetAndDestroy();
      else socket.destroy();
      await sleep(60);
    }
    await sleep(200);
    assert.ok(aborted.length >= 10, `${aborted.length} were aborted`);
    assertWithin('the end of work for a client that went away', Math.max(...aborted), 1000);
    assert.ok(gateway.turns.every((turn) => turn.aborted));
    await counted('20 clients that went away', gateway, prompts, replies);
  } finally {
    await gateway.stop();
  }
});

test('an engine that dies, stalls or takes nothing leaves nothing in the gateway', async () => {
  const prompts: string[] = [];
  const gateway = await startGateway({ keepBodies: false, bodyBytes: 64 << 20 });
  try {
    gateway.pauseEngine();
    const sockets = Array.from({ length: 4 }, () => {
      const text = canary();
      prompts.push(text);
      const body = `"${`${text} ${'z'.repeat(5000)}`.repeat(300)}"`;
      const socket = connect(gateway.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body }));
      return socket;
    });
    await sleep(300);
    const during = scanProcess(gateway.pid, prompts);
    assert.ok(during.total > 0, 'while it waits, the text is there: the search itself works');
    for (const socket of sockets) socket.destroy();
    gateway.resumeEngine();
    await sleep(300);
    await counted('4 uploads that waited for the engine, then were given up', gateway, prompts);
  } finally {
    await gateway.stop();
  }
});

test('X-17 errors tell no path, version, stack or address', async () => {
  const gateway = await startGateway({ script: (turn) => turn.abort() });
  try {
    const answers = [
      await rawRequest(
        gateway.port,
        requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body: '{}' }),
      ),
      await rawRequest(gateway.port, requestText(gateway, { target: '/nowhere' })),
      await rawRequest(gateway.port, requestText(gateway, { token: false })),
      await rawRequest(gateway.port, 'rubbish\r\n\r\n'),
      await rawRequest(gateway.port, requestText(gateway, { host: 'x' })),
    ];
    assert.equal(answers[0]!.status, 500);
    for (const answer of answers) {
      const { error } = JSON.parse(answer.body) as { error: Record<string, unknown> };
      assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type']);
      assert.doesNotMatch(answer.text, /node|v26|\/src\/|\.ts|at \w+ \(|Error:|HPE_|kw-|\/home|\/tmp/i);
    }
  } finally {
    await gateway.stop();
  }
});
