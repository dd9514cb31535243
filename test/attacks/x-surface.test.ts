/**
 * What crosses the layers (X rows): features that crashed or opened other servers are refused by name, not half done;
 * the page has nothing that loads, links or stays; no backend on the network is part of the engine.
 * @module
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Server } from '../support/server.ts';
import { call, root, startServer } from '../support/server.ts';

let server: Server;
before(async () => {
  server = await startServer();
});
after(async () => {
  await server.stop();
});

const question = { model: 'guide', max_tokens: 2, messages: [{ role: 'user', content: 'hello' }] };
const deep = (levels: number): object =>
  levels === 0 ? { type: 'string' } : { type: 'array', items: deep(levels - 1) };
const format = (schema: object) => ({
  response_format: { type: 'json_schema', json_schema: { name: 'secret', strict: true, schema } },
});

for (const [id, what, more] of [
  ['X-02', 'thousands of answers to one question', [{ n: 16_384 }, { n: 2 }, { best_of: 16_384 }]],
  ['X-03', 'a grammar', [{ grammar: '('.repeat(50_000) }, { grammar: 'root ::= "a"' }, { guided_grammar: 'secret' }]],
  [
    'X-04',
    'a schema or an expression that costs',
    [
      format({ type: 'string', pattern: '^+(?<=a)(a+)+$' }),
      format({ type: 'string', maxLength: 2e9 }),
      format(deep(30)),
      { json_schema: { type: 'object' } },
      { guided_regex: '(a+)+$' },
    ],
  ],
  [
    'X-05',
    'a form of answer that nobody would enforce',
    [format({ type: 'object' }), { response_format: { type: 'json_object' } }, { guided_json: {} }],
  ],
  [
    'X-06',
    'a schema that names itself or a place on the network',
    [format({ $ref: '#' }), format({ $ref: 'http://198.51.100.1/schema.json' })],
  ],
  [
    'X-07',
    'tools, whose descriptions become a grammar elsewhere',
    [
      {
        tools: [
          { type: 'function', function: { name: 'f', description: '"'.repeat(1000), parameters: { type: 'object' } } },
        ],
      },
      { functions: [{ name: 'f' }] },
      { tool_choice: 'required' },
    ],
  ],
] as const) {
  test(`${id} ${what}: refused by name, and the engine lives`, async () => {
    const engine = server.pids()['engine'];
    for (const extra of more) {
      const response = await call(server, '/v1/chat/completions', { ...question, ...extra });
      const { error } = (await response.json()) as { error: { param: string; message: string } };
      assert.equal(response.status, 400);
      assert.equal(error.param, Object.keys(extra)[0]);
      assert.ok(!error.message.includes('secret'));
    }
    const alive = await call(server, '/v1/chat/completions', question);
    assert.equal(alive.status, 200);
    await alive.text();
    assert.equal(server.pids()['engine'], engine);
  });
}

const assets = readdirSync(join(root, 'page')).map(
  (name) => [name, readFileSync(join(root, 'page', name), 'utf8')] as const,
);

test('X-12 X-13 what the server says is set as text, and the page may load, send and link to itself alone', async () => {
  for (const [name, text] of assets)
    assert.doesNotMatch(
      text,
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function|srcdoc|\son\w+\s*=\s*"|<link[^>]+(prefetch|preconnect|dns)|@import|mermaid/i,
      name,
    );
  const page = await fetch(`${server.url}/`);
  const policy = page.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'/);
  for (const [, directive, sources] of policy.matchAll(/([a-z]+-src) ([^;]+)/g)) {
    for (const source of sources!.trim().split(' '))
      assert.match(source, /^('none'|'self'|data:|blob:)$/, `${directive!} ${source}`);
  }
  assert.doesNotMatch(policy, /unsafe/);
  assert.equal(page.headers.get('referrer-policy'), 'no-referrer');
  assert.equal(page.headers.get('x-dns-prefetch-control'), 'off');
});

test('X-15 no address of another machine stands in the page', () => {
  for (const [name, text] of assets)
    for (const [address] of text.matchAll(/(?:https?:|wss?:|ftp:)?\/\/[\w.-]+\.\w+[^\s"'`)]*/g))
      assert.match(address, /^http:\/\/www\.w3\.org\/(2000\/svg|1999\/xlink)$/, name);
});

test('X-16 nothing of the page stays: no worker, no storage, no cookie, no manifest', async () => {
  for (const [name, text] of assets)
    assert.doesNotMatch(
      text,
      /serviceWorker|PushManager|Notification|localStorage|sessionStorage|indexedDB|caches\.|document\.cookie|rel="manifest"|new (Shared)?Worker/,
      name,
    );
  for (const path of ['/', '/app.js', '/sw.js', '/service-worker.js']) {
    const response = await fetch(`${server.url}${path}`);
    assert.equal(response.headers.get('set-cookie'), null);
    assert.equal(response.headers.get('service-worker-allowed'), null);
    if (path.includes('w')) assert.notEqual(response.status, 200, path);
    await response.text();
  }
});

test('X-18 the engine has no backend that speaks to other machines', () => {
  const folder = join(
    root,
    'node_modules',
    '@node-llama-cpp',
    `linux-${process.arch}`,
    'bins',
    `linux-${process.arch}`,
  );
  const present = readdirSync(folder);
  assert.ok(present.some((name) => name.includes('libllama')));
  for (const name of present) assert.doesNotMatch(name, /rpc/i);
  // What is mapped is root's to see.
  if (process.getuid?.() !== 0) return;
  const pid = server.pids()['engine']!;
  const parts = readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap((line) => /^(\S+) \S+ 00000000 \S+ \d+ +(\S.*)$/.exec(line)?.slice(1, 3) ?? []);
  const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
  const koffi = join(
    root,
    'node_modules',
    '@koromix',
    `koffi-linux-${process.arch}`,
    `linux_${process.arch}`,
    'koffi.node',
  );
  const packaged = new Map(
    [...present.map((name) => join(folder, name)), koffi].map((file) => [digest(file), basename(file)]),
  );
  // They run from sealed memory, which has no name of theirs: what is mapped is told by its bytes.
  const loaded = new Set<string>();
  for (let i = 0; i < parts.length; i += 2) {
    const path = parts[i + 1]!;
    if (path.startsWith('/memfd:kwyre-native'))
      loaded.add(packaged.get(digest(`/proc/${pid}/map_files/${parts[i]!}`)) ?? 'bytes of nobody');
    else if (path.includes('.so')) loaded.add(path);
  }
  assert.ok(
    [...loaded].some((name) => name.includes('libllama')),
    [...loaded].join(', '),
  );
  for (const name of loaded) assert.doesNotMatch(name, /rpc|nobody/i);
});
