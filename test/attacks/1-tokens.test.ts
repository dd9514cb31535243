/**
 * Layer 1: tokens, guessed, carried and leaked, against a real gateway process.
 * The rows that concern the whole server (L1-18, L1-22, L1-23, L1-35) are in 1-server.test.ts.
 * Needs root: reads the environment of a process that is not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { failedLoginLimits } from '../../src/layers/1-loopback/failed-logins.ts';
import { errorCode, rawRequest, requestText, root, sleep, startGateway } from '../support/gateway.ts';
import type { Gateway } from '../support/gateway.ts';

let gateway: Gateway;
before(async () => {
  gateway = await startGateway();
});
after(async () => {
  await gateway.stop();
});

const ask = (headers: readonly string[], target = '/v1/models') =>
  rawRequest(gateway.port, requestText(gateway, { token: false, headers, target }));

test('L1-20 every carrier goes the same way: Bearer and x-api-key open, nothing else does', async () => {
  const { token } = gateway;
  for (const good of [
    `Authorization: Bearer ${token}`,
    `authorization: bearer ${token}`,
    `x-api-key: ${token}`,
    `X-API-Key: ${token}`,
  ])
    assert.equal((await ask([good])).status, 200, good);
  const basic = Buffer.from(`user:${token}`).toString('base64');
  for (const bad of [
    `Authorization: ${token}`,
    `Authorization: Basic ${basic}`,
    `Authorization: Token ${token}`,
    `Authorization: Bearer${token}`,
    `Authorization: Bearer ${token} x`,
    `Authorization: Bearer "${token}"`,
    `Cookie: token=${token}`,
    `api-key: ${token}`,
    `X-Auth-Token: ${token}`,
    `Proxy-Authorization: Bearer ${token}`,
    `x_api_key: ${token}`,
  ]) {
    assert.equal((await ask([bad])).status, 401, bad.replace(token, 'TOKEN'));
  }
  for (const query of ['token', 'api_key', 'key', 'access_token', 'apikey'])
    assert.equal((await ask([], `/v1/models?${query}=${token}`)).status, 401, query);
});

test('L1-20 two credentials at once are refused, even when both are right', async () => {
  const { token } = gateway;
  const bearer = `Authorization: Bearer ${token}`;
  for (const pair of [
    [bearer, `x-api-key: ${token}`],
    [bearer, 'x-api-key: wrong'],
    ['Authorization: Bearer wrong', `x-api-key: ${token}`],
  ])
    assert.equal((await ask(pair)).status, 401);
  for (const pair of [
    [bearer, bearer],
    [`x-api-key: ${token}`, `x-api-key: ${token}`],
    [bearer, 'Authorization: Bearer wrong'],
  ])
    assert.equal((await ask(pair)).status, 400);
});

test('L1-20 a token that was revoked is void at once, on open connections too', async () => {
  const own = await startGateway();
  try {
    own.setTokens([own.token, 'kw-second-token']);
    await sleep(50);
    const second = requestText({ port: own.port, token: 'kw-second-token' });
    assert.equal((await rawRequest(own.port, second)).status, 200);
    assert.notDeepEqual(own.turns[0]?.open.principal, Buffer.alloc(16));
    const principals = new Set(own.turns.map((turn) => turn.open.principal.toString('hex')));
    assert.equal((await rawRequest(own.port, requestText(own))).status, 200);
    principals.add(own.turns.at(-1)!.open.principal.toString('hex'));
    assert.equal(principals.size, 2, 'each token is a holder of its own');
    own.setTokens([own.token]);
    await sleep(50);
    assert.equal((await rawRequest(own.port, second)).status, 401);
    own.setTokens([]);
    await sleep(50);
    assert.equal((await rawRequest(own.port, requestText(own))).status, 401, 'no token in the list opens nothing');
    assert.equal(
      (await rawRequest(own.port, requestText(own, { token: false, headers: ['Authorization: Bearer '] }))).status,
      401,
    );
  } finally {
    await own.stop();
  }
});

test('L1-21 the comparison takes digests of one length in constant time, against every token', async () => {
  const text = readFileSync(`${root}/src/layers/1-loopback/bearer-token.ts`, 'utf8');
  const from = text.indexOf('  match(token');
  const match = text.slice(from, text.indexOf('\n  }\n', from));
  assert.match(match, /for \(const entry of this\.#entries\) if \(timingSafeEqual\(entry\.digest, digest\)\)/);
  assert.equal(match.match(/return/g)?.length, 1, 'no early exit');
  assert.doesNotMatch(match, /break|===|\.find\(|\.some\(|\.equals\(/, 'no other comparison');
  // Guesses of every length and with every shared prefix get the same answer, byte for byte.
  const own = await startGateway();
  try {
    const { token } = own;
    const bodies = new Set<string>();
    for (const guess of [
      'x',
      token.slice(0, -1),
      `${token}x`,
      `${token.slice(0, -1)}_`,
      token.toUpperCase(),
      'k'.repeat(256),
    ]) {
      const answer = await rawRequest(own.port, requestText({ port: own.port, token: guess }));
      bodies.add(`${answer.status} ${answer.body}`);
    }
    assert.equal(bodies.size, 1);
  } finally {
    await own.stop();
  }
});

test('L1-24 guessing gets slower, and the owner is never locked out', async () => {
  const own = await startGateway();
  try {
    const statuses: number[] = [];
    const waits: number[] = [];
    for (let i = 0; i < failedLoginLimits.burst + 12; i += 1) {
      const answer = await rawRequest(own.port, requestText({ port: own.port, token: `guess-${i}` }));
      statuses.push(answer.status);
      if (answer.status === 429) waits.push(Number(answer.headers['retry-after']));
      assert.equal(answer.headers['connection'], 'close', 'each guess costs a connection');
      const owner = await rawRequest(own.port, requestText(own));
      assert.equal(owner.status, 200, `the owner got ${owner.status} after ${i + 1} guesses`);
    }
    assert.ok(statuses.slice(0, failedLoginLimits.burst).every((status) => status === 401));
    assert.equal(statuses.at(-1), 429);
    assert.ok(
      waits.length >= 8 && waits.every((wait, i) => i === 0 || wait >= waits[i - 1]!) && waits.at(-1)! >= 128,
      `waits ${waits.join(' ')}`,
    );
    // A missing token is no guess.
    assert.equal((await rawRequest(own.port, requestText(own, { token: false }))).status, 401);
    assert.ok(
      own.events.length >= 1 && (own.events[0] as { code: string }).code === 'L1_TOKEN_WRONG',
      'the supervisor is told, by count',
    );
    assert.doesNotMatch(JSON.stringify(own.events), /guess/);
  } finally {
    await own.stop();
  }
});

test('L1-24 a flood of guesses in parallel leaves the owner served', async () => {
  const own = await startGateway();
  try {
    let over = false;
    const flood = Promise.all(
      Array.from({ length: 20 }, async (_, worker) => {
        for (let i = 0; i < 20 && !over; i += 1)
          await rawRequest(own.port, requestText({ port: own.port, token: `guess-${worker}-${i}` }));
      }),
    );
    for (let i = 0; i < 10; i += 1) assert.equal((await rawRequest(own.port, requestText(own))).status, 200);
    over = true;
    await flood;
  } finally {
    await own.stop();
  }
});

test('L1-23 neither the right token nor a wrong one is echoed, logged or visible in the process', async () => {
  const wrong = 'kw-wrong-token-0123456789';
  const answers = [
    await ask([`Authorization: Bearer ${wrong}`]),
    await ask([`x-api-key: ${gateway.token}`]),
    await ask([`x-api-key: ${gateway.token}`], '/nope'),
    await ask([`Cookie: ${wrong}`]),
  ];
  for (const answer of answers) assert.ok(!answer.text.includes(wrong) && !answer.text.includes(gateway.token));
  for (const file of ['cmdline', 'environ', 'comm']) {
    const text = readFileSync(`/proc/${gateway.pid}/${file}`, 'latin1');
    assert.ok(!text.includes(gateway.token) && !text.includes(wrong), file);
  }
  assert.equal(gateway.stderr(), '');
  assert.ok(!JSON.stringify(gateway.events).includes(wrong));
  assert.equal(errorCode(answers[0]!), 'invalid_api_key');
});
