/**
 * Layer 1: names and targets that are not ours (DNS rebinding and its relatives), against a real gateway process.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { after, before, test } from 'node:test';
import { errorCode, rawRequest, requestText, startGateway } from '../support/gateway.ts';
import type { Gateway } from '../support/gateway.ts';

let gateway: Gateway;
before(async () => {
  gateway = await startGateway();
});
after(async () => {
  assert.equal(gateway.turns.length, reached, 'a refused request reached the engine');
  await gateway.stop();
});
let reached = 0;

/** Every route, public or not, must refuse the same. */
const targets = ['/health', '/', '/v1/models', '/kwyre/status', '/no/such/path'];

async function refused(
  host: string | null,
  status: number | readonly number[],
  more: { headers?: readonly string[]; version?: string } = {},
): Promise<void> {
  for (const target of targets) {
    const answer = await rawRequest(gateway.port, requestText(gateway, { target, host, ...more }));
    const wanted = typeof status === 'number' ? [status] : status;
    assert.ok(wanted.includes(answer.status), `Host ${JSON.stringify(host)} on ${target}: ${answer.status}`);
    assert.equal(answer.headers['connection'], 'close');
    if (host !== null && host.length > 6 && !/^(127\.0\.0\.1|localhost)/.test(host))
      assert.ok(!answer.text.includes(host), 'the answer echoes the Host header');
  }
}

test('L1-01 a foreign name with our port (DNS rebinding) is refused on every route', async () => {
  for (const name of ['evil.example', 'rebind.network', 'a.b.c.d.example', 'kwyre.localhost', 'x.localhost'])
    await refused(`${name}:${gateway.port}`, 403);
  await refused('evil.example', 403);
});

test('L1-01 our own names need the bound port', async () => {
  for (const host of [
    '127.0.0.1',
    'localhost',
    '127.0.0.1:1',
    `localhost:${gateway.port + 1}`,
    '127.0.0.1:80',
    `localhost:0${gateway.port}`,
    `localhost:${gateway.port} `.trim() + ',x',
  ])
    await refused(host, 403);
  for (const host of [`127.0.0.1:${gateway.port}`, `localhost:${gateway.port}`]) {
    const answer = await rawRequest(gateway.port, requestText(gateway, { host }));
    assert.equal(answer.status, 200);
    reached += 1;
  }
});

test('L1-02 an empty Host is refused', async () => {
  await refused('', [400, 403]);
  await refused(`:${gateway.port}`, 403);
  await refused(' ', [400, 403]);
  await refused('\t', [400, 403]);
});

test('L1-03 HTTP/1.0 and HTTP/1.1 without Host are refused', async () => {
  await refused(null, 400, { version: '1.0' });
  await refused(null, 400, { version: '1.1' });
  await refused(null, 400, { headers: [`X-Host: 127.0.0.1:${gateway.port}`] });
});

test('L1-04 two Host headers are refused, whichever is the good one', async () => {
  const good = `127.0.0.1:${gateway.port}`;
  await refused(good, 400, { headers: ['Host: evil.example'] });
  await refused('evil.example', 400, { headers: [`Host: ${good}`] });
  await refused(good, 400, { headers: [`host: ${good}`] });
  // Node keeps only the first 2000 headers by default and drops the rest silently.
  const many = Array.from({ length: 63 }, (_, i) => `X-${i}: 1`);
  await refused(good, [400, 431], { headers: [...many, 'HOST: evil.example'] });
});

test('L1-05 spellings that only look like us are refused', async () => {
  const names = [
    'localhost.evil.com',
    '127.0.0.1.nip.io',
    'localhost.',
    '127.0.0.1.',
    '127.1',
    '127.0.1',
    '0x7f.1',
    '0x7f000001',
    '2130706433',
    '017700000001',
    '127.0.0.01',
    '0127.0.0.1',
    '[::ffff:127.0.0.1]',
    '[::1]',
    '[::]',
    '127.0.0.2',
    '127.255.255.254',
    'localhost@evil.com',
    'evil.com#localhost',
    'localhost\\@evil.com',
    'xn--localhost-',
    '127.0.0.1%00',
    '127.0.0.1/',
    'lоcalhost',
    'ⓛocalhost',
  ];
  for (const name of names) await refused(`${name}:${gateway.port}`, [400, 403]);
  // The comparison is exact after lower-casing: the name itself in capitals is still the name.
  const answer = await rawRequest(gateway.port, requestText(gateway, { host: `LOCALHOST:${gateway.port}` }));
  assert.equal(answer.status, 200);
  reached += 1;
});

test("L1-06 .local, .internal and this machine's own name are not local", async () => {
  for (const name of [
    'kwyre.local',
    'host.internal',
    'host.docker.internal',
    hostname(),
    `${hostname()}.local`,
    'ip6-localhost',
    'localhost.localdomain',
    'localhost4',
  ])
    await refused(`${name}:${gateway.port}`, 403);
});

test('L1-07 targets that are not a path are refused', async () => {
  const good = `127.0.0.1:${gateway.port}`;
  for (const target of [
    `http://evil.example/v1/models`,
    `http://${good}/v1/models`,
    `https://${good}/`,
    '*',
    'v1/models',
    '//evil.example/v1/models',
    '/a#b',
    '\\v1\\models',
    good,
  ]) {
    const answer = await rawRequest(gateway.port, requestText(gateway, { target }));
    assert.ok(answer.status === 400 || (answer.status === 0 && answer.text === ''), `${target}: ${answer.status}`);
    assert.ok(!answer.text.includes('evil.example'));
  }
  const proxy = await rawRequest(
    gateway.port,
    `CONNECT evil.example:443 HTTP/1.1\r\nHost: ${good}\r\nAuthorization: Bearer ${gateway.token}\r\n\r\n`,
  );
  assert.ok(proxy.status === 0 || proxy.status >= 400, 'CONNECT is not served');
});

test('L1-08 the 0.0.0.0 day: a page that names us 0.0.0.0 is refused', async () => {
  await refused(`0.0.0.0:${gateway.port}`, 403);
  await refused(`0:${gateway.port}`, 403);
  await refused(`[::]:${gateway.port}`, 403);
  // The kernel routes 0.0.0.0 to us: the refusal must also hold for a connection made that way.
  const answer = await rawRequest(gateway.port, requestText(gateway, { host: `0.0.0.0:${gateway.port}` }), {
    host: '0.0.0.0',
  });
  assert.ok(answer.status === 403 || answer.text === '');
});

test('L1-15 no name is resolved to find the address to bind or the peer to trust', () => {
  for (const file of [
    'src/layers/1-loopback/listener.ts',
    'src/layers/1-loopback/request-guard.ts',
    'src/linux/sockets/socket.ts',
    'src/gateway/http-server.ts',
  ]) {
    const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
    assert.doesNotMatch(text, /getaddrinfo|lookup|node:dns|0\.0\.0\.0|INADDR_ANY/, file);
  }
  const row = readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find((f) => f[3] === '0A' && f[1]?.endsWith(`:${gateway.port.toString(16).toUpperCase().padStart(4, '0')}`));
  assert.equal(row?.[1]?.split(':')[0], '0100007F');
});

test('L1-32 forwarding headers are never believed', async () => {
  const forged = [
    'X-Forwarded-Host: evil.example',
    'X-Forwarded-For: 10.0.0.1',
    'X-Forwarded-Prefix: //evil.example',
    'Forwarded: for=10.0.0.1;host=evil.example',
    'X-Real-IP: 10.0.0.1',
    'X-Original-URL: /health',
    'X-Rewrite-URL: /health',
    'X-HTTP-Method-Override: GET',
  ];
  const answer = await rawRequest(gateway.port, requestText(gateway, { headers: forged }));
  reached += 1;
  assert.equal(answer.status, 200);
  assert.ok(!answer.text.includes('evil.example') && answer.headers['location'] === undefined);
  // They neither make a foreign Host good nor open a closed path.
  await refused('evil.example', 403, { headers: [`X-Forwarded-Host: 127.0.0.1:${gateway.port}`] });
  const closed = await rawRequest(gateway.port, requestText(gateway, { token: false, headers: forged }));
  assert.equal(closed.status, 401);
  assert.equal(errorCode(closed), 'invalid_api_key');
});

test('layer 1 stands alone: without jail and seal the same is refused', async () => {
  const bare = await startGateway({ bare: true });
  try {
    assert.equal((await rawRequest(bare.port, requestText(bare))).status, 200);
    for (const [status, change] of [
      [403, { host: `evil.example:${bare.port}` }],
      [400, { host: null }],
      [403, { headers: ['Origin: null'] }],
      [403, { headers: ['Sec-Fetch-Site: cross-site'] }],
      [401, { token: false }],
      [405, { method: 'OPTIONS' }],
      [400, { target: 'http://evil.example/' }],
    ] as const) {
      assert.equal((await rawRequest(bare.port, requestText(bare, change))).status, status, JSON.stringify(change));
    }
  } finally {
    await bare.stop();
  }
});
