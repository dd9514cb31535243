/**
 * Layer 2: addresses inside requests, and code that could follow them (L2-15 to L2-20): nothing in a request is ever
 * fetched, because nothing that serves can fetch.
 * @module
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { interfacesOf, onlyLoopback } from '../../src/layers/2-isolation/network-context.ts';
import { starters } from '../support/probe.ts';
import type { Server } from '../support/server.ts';
import { call, root, startServer } from '../support/server.ts';

let server: Server;
let knocks = 0;
const trap = createServer((socket) => {
  knocks += 1;
  socket.destroy();
}).listen(0, '127.0.0.1');
before(async () => {
  server = await startServer();
});
after(async () => {
  await server.stop();
  trap.close();
});

const url = (path: string) => `http://127.0.0.1:${(trap.address() as AddressInfo).port}${path}`;
const user = (content: unknown) => ({ model: 'guide', max_tokens: 4, messages: [{ role: 'user', content }] });
const plain = user('hello');

const refused: readonly (readonly [string, () => object])[] = [
  ['L2-16 an image by address', () => user([{ type: 'image_url', image_url: { url: url('/a.png') } }])],
  [
    'L2-17 an image whose address redirects',
    () => user([{ type: 'image_url', image_url: { url: url('/redirect?to=http://169.254.169.254/') } }]),
  ],
  [
    'L2-17 an address that parsers read differently',
    () =>
      user([
        {
          type: 'image_url',
          image_url: { url: `http://example.com\\@127.0.0.1:${(trap.address() as AddressInfo).port}/` },
        },
      ]),
  ],
  ['L2-18 an image from a file', () => user([{ type: 'image_url', image_url: { url: 'file:///etc/passwd' } }])],
  [
    'L2-16 sound by address',
    () => user([{ type: 'input_audio', input_audio: { data: url('/a.wav'), format: 'wav' } }]),
  ],
  ['L2-18 a file part', () => user([{ type: 'file', file: { file_data: 'file:///etc/passwd' } }])],
  [
    'L2-16 a schema with a remote $ref',
    () => ({
      ...plain,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { $ref: url('/schema.json') } } },
    }),
  ],
  [
    'L2-16 a tool with a remote $ref',
    () => ({
      ...plain,
      tools: [{ type: 'function', function: { name: 'x', parameters: { $ref: url('/tool.json') } } }],
    }),
  ],
  ['L2-19 a model by address', () => ({ ...plain, model: url('/model.gguf') })],
  ['L2-18 a model by path', () => ({ ...plain, model: '../../../etc/passwd' })],
];
for (const [title, body] of refused) {
  test(`${title}: refused, and nobody was called`, async () => {
    const answer = await call(server, '/v1/chat/completions', body());
    const text = await answer.text();
    assert.ok(answer.status === 400 || answer.status === 404, `${answer.status} ${text}`);
    assert.ok(!text.includes('root:'), 'no content of a file');
    assert.ok(!text.includes('127.0.0.1:'), 'no echo of the address');
    await sleep(100);
    assert.equal(knocks, 0);
  });
}

for (const path of [
  '/api/pull',
  '/api/push',
  '/api/create',
  '/v1/models/pull',
  '/models/load',
  '/v1/files',
  '/proxy',
]) {
  test(`L2-05 L2-19 POST ${path}: there is no way to let it fetch or send a model`, async () => {
    const answer = await call(server, path, { name: url('/model'), model: url('/model'), insecure: true });
    await answer.text();
    assert.ok(answer.status === 404 || answer.status === 405, String(answer.status));
    assert.equal(knocks, 0);
  });
}

test('L2-16 an address in plain text is text', async () => {
  const answer = await call(server, '/v1/chat/completions', user(`Summarise ${url('/page')} please.`));
  await answer.text();
  assert.equal(answer.status, 200);
  assert.equal(knocks, 0);
});

/** Every source file below a folder of `src`. */
function sources(folder: string): string[] {
  return readdirSync(join(root, 'src', folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(root, 'src', folder, name));
}

for (const folder of ['gateway', 'engine', 'watchdog', 'supervisor', 'wire', 'state', 'jail']) {
  test(`L2-16 L2-19 L2-20 src/${folder} holds no client: no fetch, no resolver, no telemetry, no update check`, () => {
    const files = sources(folder);
    assert.ok(files.length > 0);
    for (const file of files) {
      const text = readFileSync(file, 'utf8');
      const found =
        /(?<![.\w])fetch\(|['"]node:(?:https|http2|dns|dgram|tls|inspector)(?:\/promises)?['"]|\bWebSocket\(|\bXMLHttpRequest\b|\bconnect\(\{|\bhttps?:\/\/(?!127\.0\.0\.1|localhost)[a-z0-9]/.exec(
          text.replace(/^ ?\*.*$|\/\/.*$/gm, ''),
        );
      assert.equal(found?.[0], undefined, file);
    }
  });
}

for (const { who, uid } of starters) {
  const asRoot = process.getuid?.() === 0 && uid === undefined;
  test(`L2-15 a server of ${who} says which interfaces its network has, and where its roles are: ${asRoot ? 'in empty ones' : 'in it, held by the filter'}`, async () => {
    const other = await startServer(uid === undefined ? {} : { uid });
    try {
      const { layers } = (await (await call(other, '/kwyre/status')).json()) as {
        layers: { layer: number; checks: { id: string; status: string; evidence: string }[] }[];
      };
      const { checks } = layers.find(({ layer }) => layer === 2)!;
      const ours = interfacesOf(readFileSync('/proc/self/net/dev', 'latin1'));
      const shared = checks.find(({ id }) => id === 'network.shared')!;
      for (const name of ours.filter((one) => one !== 'lo')) assert.ok(shared.evidence.includes(name), shared.evidence);
      const apart = asRoot || onlyLoopback(readFileSync('/proc/self/net/dev', 'latin1'));
      assert.equal(shared.status, apart ? 'enforced' : 'off', shared.evidence);
      for (const role of ['gateway', 'engine']) {
        // What is said is what the kernel shows of the living process.
        assert.deepEqual(
          interfacesOf(readFileSync(`/proc/${other.pids()[role]!}/net/dev`, 'latin1')),
          asRoot ? ['lo'] : ours,
        );
        assert.equal(checks.find(({ id }) => id === `${role}.network-namespace`)?.status, asRoot ? 'enforced' : 'off');
      }
    } finally {
      await other.stop();
    }
  });
}
