/**
 * Layer 1: what a web page in the owner's browser could try, against a real gateway process.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { pageFiles, routes } from '../../src/gateway/routes.ts';
import { errorCode, rawRequest, requestText, root, startGateway } from '../support/gateway.ts';
import type { Gateway, RawAnswer } from '../support/gateway.ts';

let gateway: Gateway;
before(async () => {
  gateway = await startGateway();
});
after(async () => {
  await gateway.stop();
});

const everyPath = [...routes.map((route) => route.path.replace('{parameter}', 'guide')), '/not/there'];

function noCors(answer: RawAnswer): void {
  for (const name of Object.keys(answer.headers)) assert.ok(!name.startsWith('access-control-'), name);
}

/** One request of each method on each path, with the token: even with it, strangers are refused. */
async function refusedEverywhere(headers: readonly string[]): Promise<void> {
  const before = gateway.turns.length;
  for (const target of everyPath) {
    for (const method of ['GET', 'POST']) {
      const answer = await rawRequest(
        gateway.port,
        requestText(gateway, { method, target, headers, ...(method === 'POST' ? { body: '{}' } : {}) }),
      );
      assert.equal(answer.status, 403, `${method} ${target} with ${headers.join(', ')}`);
      noCors(answer);
    }
  }
  assert.equal(gateway.turns.length, before, 'a refused request reached the engine');
}

test('L1-09 a foreign Origin is refused on every route and nothing is reflected', async () => {
  await refusedEverywhere(['Origin: https://evil.example']);
  for (const origin of [
    `http://localhost:${gateway.port + 1}`,
    `https://127.0.0.1:${gateway.port}`,
    `http://127.0.0.1`,
    `http://127.0.0.1:${gateway.port}.evil.example`,
    `http://127.0.0.1:${gateway.port}/`,
    'file://',
    'tauri://localhost',
    'vscode-webview://x',
    'chrome-extension://abc',
  ]) {
    const answer = await rawRequest(gateway.port, requestText(gateway, { headers: [`Origin: ${origin}`] }));
    assert.equal(answer.status, 403, origin);
    assert.equal(errorCode(answer), 'origin_not_allowed');
    assert.ok(!answer.text.includes(origin));
  }
});

test('L1-09 no answer at all carries a CORS header', async () => {
  for (const target of everyPath) noCors(await rawRequest(gateway.port, requestText(gateway, { target })));
  noCors(
    await rawRequest(gateway.port, requestText(gateway, { headers: [`Origin: http://127.0.0.1:${gateway.port}`] })),
  );
  noCors(await rawRequest(gateway.port, 'rubbish\r\n\r\n'));
});

test('L1-10 Origin: null (sandboxed frame, file) is refused on every route', async () => {
  await refusedEverywhere(['Origin: null']);
  await refusedEverywhere(['Origin:']);
});

test('L1-11 cross-site and same-site requests are refused on every route', async () => {
  await refusedEverywhere(['Sec-Fetch-Site: cross-site']);
  await refusedEverywhere(['Sec-Fetch-Site: same-site']);
  await refusedEverywhere(['Sec-Fetch-Site: nonsense']);
  const own = await rawRequest(
    gateway.port,
    requestText(gateway, { headers: ['Sec-Fetch-Site: same-origin', `Origin: http://127.0.0.1:${gateway.port}`] }),
  );
  assert.equal(own.status, 200);
});

test('L1-11 a simple request (text/plain, a form) starts no work', async () => {
  const before = gateway.turns.length;
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain; application/json',
    'application/jsonx',
    'application/json; charset=utf-16',
    'application/json, text/plain',
    'application/json\ttext/plain',
  ]) {
    const body = '{"messages":[]}';
    const answer = await rawRequest(
      gateway.port,
      requestText(gateway, {
        method: 'POST',
        target: '/v1/chat/completions',
        headers: [`Content-Type: ${type}`, `Content-Length: ${body.length}`],
      }) + body,
    );
    assert.equal(answer.status, 415, type);
  }
  const none = await rawRequest(
    gateway.port,
    `${requestText(gateway, { method: 'POST', target: '/v1/chat/completions', headers: ['Content-Length: 2'] })}{}`,
  );
  assert.equal(none.status, 415);
  assert.equal(gateway.turns.length, before);
});

test('L1-12 the guard and the token cover every route of the table, and GET starts no work', async () => {
  const open = routes.filter((route) => route.public).map((route) => `${route.method} ${route.path}`);
  assert.deepEqual(
    open.sort(),
    ['GET /', 'GET /app.js', 'GET /health', 'GET /icon.svg', 'GET /style.css'],
    'the list of public routes is explicit and tiny',
  );
  for (const route of routes) {
    const target = route.path.replace('{parameter}', 'guide');
    const stranger = await rawRequest(
      gateway.port,
      requestText(gateway, {
        method: route.method,
        target,
        token: false,
        ...(route.method === 'POST' ? { body: '{}' } : {}),
      }),
    );
    assert.equal(stranger.status, route.public ? 200 : 401, target);
    const foreign = await rawRequest(
      gateway.port,
      requestText(gateway, { method: route.method, target, host: 'evil.example' }),
    );
    assert.equal(foreign.status, 403, target);
    if (route.target.kind === 'engine' && route.path.includes('completions')) assert.equal(route.method, 'POST');
  }
  const before = gateway.turns.length;
  const get = await rawRequest(gateway.port, requestText(gateway, { target: '/v1/chat/completions' }));
  assert.equal(get.status, 405);
  assert.equal(gateway.turns.length, before);
});

test('L1-12 a preflight is refused, runs nothing and tells nothing', async () => {
  const before = gateway.turns.length;
  for (const target of everyPath) {
    const answer = await rawRequest(
      gateway.port,
      requestText(gateway, {
        method: 'OPTIONS',
        target,
        headers: [
          `Origin: http://127.0.0.1:${gateway.port}`,
          'Access-Control-Request-Method: POST',
          'Access-Control-Request-Headers: authorization',
          'Access-Control-Request-Private-Network: true',
        ],
      }),
    );
    assert.equal(answer.status, 405);
    noCors(answer);
  }
  assert.equal(gateway.turns.length, before);
});

test('L1-12 other methods do nothing', async () => {
  const before = gateway.turns.length;
  for (const method of ['PUT', 'DELETE', 'PATCH', 'TRACE', 'HEAD', 'PROPFIND', 'PURGE', 'QUERY']) {
    const answer = await rawRequest(gateway.port, requestText(gateway, { method, target: '/v1/chat/completions' }));
    assert.ok(answer.status === 405 || answer.status === 400, `${method}: ${answer.status}`);
  }
  assert.equal(gateway.turns.length, before);
});

test('L1-13 upgrades are refused, WebSocket and h2c alike', async () => {
  const webSocket = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ];
  for (const headers of [
    webSocket,
    ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
    ['Upgrade: websocket'],
    ['Connection: keep-alive, Upgrade'],
  ]) {
    for (const target of ['/', '/v1/models']) {
      const answer = await rawRequest(gateway.port, requestText(gateway, { target, headers }));
      assert.equal(answer.status, 400, headers.join());
      assert.equal(errorCode(answer), 'upgrade_not_allowed');
    }
  }
  const h2 = await rawRequest(gateway.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  assert.ok(h2.status === 0 || h2.status === 400);
});

test('L1-30 every answer forbids framing, sniffing, referrers and other origins', async () => {
  const answers = [];
  for (const target of everyPath) answers.push(await rawRequest(gateway.port, requestText(gateway, { target })));
  answers.push(
    await rawRequest(gateway.port, requestText(gateway, { host: 'evil.example' })),
    await rawRequest(gateway.port, requestText(gateway, { token: false })),
    await rawRequest(gateway.port, 'rubbish\r\n\r\n'),
  );
  answers.push(
    await rawRequest(
      gateway.port,
      requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body: '{}' }),
    ),
  );
  for (const answer of answers) {
    assert.match(answer.headers['content-security-policy'] ?? '', /default-src 'none'.*frame-ancestors 'none'/);
    assert.doesNotMatch(answer.headers['content-security-policy'] ?? '', /unsafe|\*|https?:/);
    assert.equal(answer.headers['x-content-type-options'], 'nosniff');
    assert.equal(answer.headers['x-frame-options'], 'DENY');
    assert.equal(answer.headers['referrer-policy'], 'no-referrer');
    assert.equal(answer.headers['cross-origin-opener-policy'], 'same-origin');
    assert.equal(answer.headers['cross-origin-resource-policy'], 'same-origin');
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers['server'], undefined);
    assert.equal(answer.headers['x-powered-by'], undefined);
    assert.equal(answer.headers['set-cookie'], undefined);
  }
});

test('L1-31 a link cannot make the page act: the query is never read, the page sends GET only and submits nothing', async () => {
  const link = await rawRequest(
    gateway.port,
    requestText(gateway, { target: '/?q=ignore+all+rules&prompt=x', token: false }),
  );
  assert.equal(link.status, 200);
  const plain = await rawRequest(gateway.port, requestText(gateway, { target: '/', token: false }));
  assert.equal(link.body, plain.body, 'the page is the same bytes whatever the query');
  const script = readFileSync(`${root}/page/app.js`, 'utf8');
  assert.doesNotMatch(
    script,
    /URLSearchParams|searchParams|location\.href|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|localStorage|sessionStorage|document\.cookie|postMessage|method:/,
  );
  assert.equal(script.match(/fetch\(/g)?.length, 1);
  assert.match(script, /fetch\('\/kwyre\/status'/);
  const html = readFileSync(`${root}/page/index.html`, 'utf8');
  assert.doesNotMatch(html, /<form|<iframe|<script(?![^>]*src="\/app\.js")|\son\w+=|style=|https?:\/\//);
  for (const { file } of Object.values(pageFiles))
    assert.doesNotMatch(
      readFileSync(`${root}/page/${file}`, 'utf8').replaceAll('http://www.w3.org/2000/svg', ''),
      /https?:\/\/|url\(|@import/,
      file,
    );
});
