/**
 * Layer 1: other spellings of a path, against a real gateway process.
 * @module
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { routes } from '../../src/gateway/routes.ts';
import { rawRequest, requestText, startGateway } from '../support/gateway.ts';
import type { Gateway } from '../support/gateway.ts';

let gateway: Gateway;
before(async () => {
  gateway = await startGateway();
});
after(async () => {
  await gateway.stop();
});

const spellings = (path: string) => [
  `/v1/..${path}`,
  `/health/..${path}`,
  `/health/../..${path}`,
  `/.${path}`,
  `${path}/`,
  `${path}//`,
  `${path}/.`,
  path.toUpperCase(),
  `/K${path.slice(2)}`,
  path.replaceAll('/', '%2f'),
  `/%2e%2e${path}`,
  path.replace('/', '/%2F'),
  `${path}%00`,
  `${path}%20`,
  `${path};x`,
  `${path}.json`,
  `${path}%3f`,
  `/api${path}`,
  `/app.js${path}`,
  `/health;${path}`,
  path.replace('s', '%73'),
  `${path}?x#y`,
  `${path}%3fx`,
  `/health%2f..${path}`,
  `/index.html${path}`,
  path.replaceAll('/', '\\').replace('\\', '/'),
];

test('L1-19 no spelling of a closed path opens it without the token, and none means it with the token', async () => {
  const before = gateway.turns.length;
  for (const route of routes.filter((each) => !each.public)) {
    const path = route.path.replace('{parameter}', 'guide');
    for (const target of spellings(path)) {
      if (route.path.includes('{') && target.endsWith('.json')) continue; // another model's name, and as closed

      const body = route.method === 'POST' ? { body: '{}' } : {};
      const stranger = await rawRequest(
        gateway.port,
        requestText(gateway, { method: route.method, target, token: false, ...body }),
      );
      assert.ok(stranger.status === 401 || stranger.status === 400, `${target} without a token: ${stranger.status}`);
      const owner = await rawRequest(gateway.port, requestText(gateway, { method: route.method, target, ...body }));
      assert.ok([400, 404, 405].includes(owner.status), `${target} with the token: ${owner.status}`);
    }
  }
  assert.equal(gateway.turns.length, before);
});

test('L1-19 what does not exist is closed like what does: strangers cannot map the routes', async () => {
  const answers = new Set<string>();
  for (const target of [
    '/v1/models',
    '/v1/nothing',
    '/metrics',
    '/invocations',
    '/api/tags',
    '/slots',
    '/props',
    '/debug',
    '/.env',
    '/kwyre/sessions',
    '/index.html',
    '/health/',
    '/health/x',
    '/HEALTH',
    '/server_info',
  ]) {
    const answer = await rawRequest(gateway.port, requestText(gateway, { target, token: false }));
    answers.add(`${answer.status} ${answer.body}`);
  }
  assert.equal(answers.size, 1);
  assert.match([...answers][0]!, /^401 /);
});

test('L1-19 a public path stays public by exact spelling only, and its other methods are closed', async () => {
  for (const target of ['/health', '/health?x=/v1/models', '/', '/app.js'])
    assert.equal((await rawRequest(gateway.port, requestText(gateway, { target, token: false }))).status, 200, target);
  for (const method of ['POST', 'PUT', 'DELETE'])
    assert.equal(
      (
        await rawRequest(
          gateway.port,
          requestText(gateway, {
            method,
            target: '/health',
            token: false,
            ...(method === 'POST' ? { body: '{}' } : {}),
          }),
        )
      ).status,
      401,
      method,
    );
});

test('L1-19 a model name in the path is one segment of safe characters', async () => {
  assert.equal(
    (await rawRequest(gateway.port, requestText(gateway, { target: '/v1/models/qwen2.5%3A7b' }))).status,
    200,
  );
  assert.equal(gateway.turns.at(-1)?.open.parameter, 'qwen2.5:7b');
  for (const name of [
    '..',
    '.',
    '%2e%2e',
    'a/b',
    'a%2fb',
    'a%00',
    'a%0d%0a',
    '%',
    'x'.repeat(129),
    '<script>',
    'a%25b',
  ]) {
    assert.equal(
      (await rawRequest(gateway.port, requestText(gateway, { target: `/v1/models/${name}` }))).status,
      404,
      name,
    );
  }
});
