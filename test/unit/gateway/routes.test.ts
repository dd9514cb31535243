/**
 * The route table: exact spellings only.
 * @module
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { matchRoute, pageFiles, routes } from '../../../src/gateway/routes.ts';

const of = (method: string, target: string) => {
  const match = matchRoute(method, target);
  return match.kind === 'route'
    ? `${match.route.path}${match.parameter === '' ? '' : `=${match.parameter}`}`
    : match.kind;
};

test('routes match by method and path', () => {
  assert.equal(of('GET', '/health'), '/health');
  assert.equal(of('GET', '/health?deep=1'), '/health');
  assert.equal(of('GET', '/?q=x'), '/');
  assert.equal(of('POST', '/v1/chat/completions?api-version=1'), '/v1/chat/completions');
  assert.equal(of('GET', '/v1/chat/completions'), 'method');
  assert.equal(of('GET', '/v1/models/guide'), '/v1/models/{parameter}=guide');
  assert.equal(of('GET', '/v1/models/a%3Ab%2bc%40'), '/v1/models/{parameter}=a:b+c@');
  for (const none of [
    '',
    '/v1',
    '/v1/',
    '/v1/models/',
    '/v1/models/a/b',
    '/v1/models/..',
    '/v1/models/%2e',
    '/V1/models',
    '/health/',
    '/{parameter}',
    '/__proto__',
    '/constructor',
  ])
    assert.equal(of('GET', none), 'none', none);
});

test('property: the public paths are a fixed set of strings', () => {
  const open = new Set(['/health', ...Object.keys(pageFiles)]);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.webPath(),
        fc.constantFrom(...open).chain((path) => fc.string({ maxLength: 4 }).map((more) => path + more)),
      ),
      (target) => {
        const match = matchRoute('GET', target);
        if (match.kind === 'route' && match.route.public) assert.ok(open.has(target.split('?')[0]!));
      },
    ),
    { numRuns: 2000 },
  );
});

test('every page file exists and every route is unique', () => {
  for (const { file } of Object.values(pageFiles))
    assert.ok(existsSync(join(import.meta.dirname, '..', '..', '..', 'page', file)), file);
  assert.equal(new Set(routes.map((route) => `${route.method} ${route.path}`)).size, routes.length);
});
