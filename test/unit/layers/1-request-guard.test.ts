/**
 * The request guard as a table: each refusal with its code, and properties that cover everything else.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  allowedHosts,
  bodyLengthOf,
  isLocalConnection,
  maxHeaders,
  refusalOf,
} from '../../../src/layers/1-loopback/request-guard.ts';

const port = 8000;
const host = ['Host', '127.0.0.1:8000'];

function codeOf(
  rawHeaders: readonly string[],
  { method = 'GET', target = '/v1/models', unix = false, on = port } = {},
): string {
  const refusal = refusalOf({ method, target, rawHeaders, unix }, on);
  return refusal === undefined ? 'passes' : `${refusal.status} ${refusal.code}`;
}

test('requests: accepted, or refused with a code', () => {
  const rows: readonly [string, readonly string[], Parameters<typeof codeOf>[1]?][] = [
    ['passes', host],
    ['passes', ['host', 'LocalHost:8000']],
    ['400 host_missing', []],
    ['400 host_repeated', [...host, 'HOST', '127.0.0.1:8000']],
    ['403 host_not_allowed', ['Host', 'evil.example:8000']],
    ['403 host_not_allowed', ['Host', '127.0.0.1']],
    ['passes', ['Host', '127.0.0.1'], { on: 80 }],
    ['passes', ['Host', 'localhost'], { unix: true }],
    ['403 host_not_allowed', ['Host', 'anything'], { unix: true }],
    ['400 target_not_allowed', host, { target: 'http://evil.example/' }],
    ['400 target_not_allowed', host, { target: '//evil.example/' }],
    ['400 target_not_allowed', host, { target: '*' }],
    ['400 target_not_allowed', host, { target: '/a b' }],
    ['400 target_not_allowed', host, { target: '/a#b' }],
    ['405 method_not_allowed', host, { method: 'OPTIONS' }],
    ['400 header_repeated', [...host, 'Content-Length', '1', 'content-length', '1'], { method: 'POST' }],
    ['400 header_repeated', [...host, 'Origin', 'http://127.0.0.1:8000', 'Origin', 'null']],
    ['403 origin_not_allowed', [...host, 'Origin', 'null']],
    ['403 origin_not_allowed', [...host, 'Origin', 'http://localhost:8000']],
    ['passes', [...host, 'Origin', 'http://127.0.0.1:8000']],
    ['passes', ['Host', 'localhost:8000', 'Origin', 'http://localhost:8000']],
    ['403 origin_not_allowed', [...host, 'Sec-Fetch-Site', 'cross-site']],
    ['403 origin_not_allowed', [...host, 'Sec-Fetch-Site', 'same-site']],
    ['passes', [...host, 'Sec-Fetch-Site', 'same-origin']],
    ['passes', [...host, 'Sec-Fetch-Site', 'none']],
    ['400 upgrade_not_allowed', [...host, 'Upgrade', 'websocket']],
    ['400 upgrade_not_allowed', [...host, 'Connection', 'keep-alive, UPGRADE']],
    ['415 encoding_not_allowed', [...host, 'Content-Encoding', 'gzip'], { method: 'POST' }],
    ['400 body_not_allowed', [...host, 'Content-Length', '5']],
    ['passes', [...host, 'Content-Length', '0']],
    ['400 body_not_allowed', [...host, 'Transfer-Encoding', 'chunked'], { method: 'DELETE' }],
    ['431 too_many_headers', [...host, ...Array.from({ length: maxHeaders }, (_, i) => [`x-${i}`, '']).flat()]],
  ];
  for (const [wanted, headers, more] of rows)
    assert.equal(codeOf(headers, more), wanted, `${headers.join(' | ')} ${JSON.stringify(more ?? {})}`);
});

test('bodies: accepted, or refused with a code', () => {
  const json = ['Content-Type', 'application/json'];
  const rows: readonly [number | string, readonly string[]][] = [
    [5, [...json, 'Content-Length', '5']],
    [0, ['content-type', 'Application/JSON; charset=UTF-8', 'content-length', '0']],
    ['content_type_not_allowed', ['Content-Length', '5']],
    ['content_type_not_allowed', ['Content-Type', 'text/plain', 'Content-Length', '5']],
    ['content_type_not_allowed', ['Content-Type', 'application/json; charset=utf-16', 'Content-Length', '5']],
    ['length_required', json],
    ['length_required', [...json, 'Transfer-Encoding', 'chunked']],
    ['length_invalid', [...json, 'Content-Length', '5e3']],
    ['length_invalid', [...json, 'Content-Length', '-1']],
    ['body_too_large', [...json, 'Content-Length', '101']],
    ['body_too_large', [...json, 'Content-Length', '999999999999999']],
  ];
  for (const [wanted, headers] of rows) {
    const got = bodyLengthOf(headers, 100);
    assert.equal(typeof got === 'number' ? got : got.code, wanted, headers.join(' | '));
  }
});

test('only a connection from 127.0.0.1 to 127.0.0.1 is local', () => {
  assert.ok(isLocalConnection('127.0.0.1', '127.0.0.1'));
  for (const [local, remote] of [
    ['127.0.0.1', '10.0.0.1'],
    ['10.0.0.1', '127.0.0.1'],
    ['127.0.0.1', '127.0.0.2'],
    ['127.0.0.2', '127.0.0.1'],
    ['::1', '::1'],
    ['::ffff:127.0.0.1', '::ffff:127.0.0.1'],
    [undefined, undefined],
    ['127.0.0.1', undefined],
    ['', ''],
  ] as const) {
    assert.ok(!isLocalConnection(local, remote), `${String(local)} ${String(remote)}`);
  }
});

test('property: a Host that is not listed is refused, whatever else is sent', () => {
  const near = fc
    .constantFrom('127.0.0.1:8000', 'localhost:8000', 'LOCALHOST:8000', '127.0.0.1', 'localhost', '[::1]:8000')
    .chain((base) =>
      fc
        .tuple(fc.nat(base.length), fc.string({ maxLength: 3 }), fc.nat(3))
        .map(([at, put, cut]) => base.slice(0, at) + put + base.slice(at + cut)),
    );
  fc.assert(
    fc.property(
      fc.oneof(near, fc.string(), fc.webAuthority({ withPort: true })),
      fc.array(fc.string(), { maxLength: 6 }),
      (value, more) => {
        const passes =
          refusalOf({ method: 'GET', target: '/', rawHeaders: ['Host', value, ...more], unix: false }, port) ===
          undefined;
        if (passes) assert.ok(allowedHosts(port, false).has(value.toLowerCase()));
      },
    ),
    { numRuns: 2000 },
  );
});

test('property: no added header makes a refused request pass', () => {
  const names = fc.constantFrom(
    'X-Forwarded-Host',
    'Forwarded',
    'X-Host',
    'X-Original-Host',
    'Host',
    'Origin',
    'Sec-Fetch-Site',
    'Authorization',
    'Via',
    '__proto__',
    'constructor',
  );
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          names,
          fc.constantFrom('127.0.0.1:8000', 'localhost:8000', 'same-origin', 'http://127.0.0.1:8000', ''),
        ),
        { maxLength: 8 },
      ),
      (pairs) => {
        assert.notEqual(
          refusalOf(
            { method: 'GET', target: '/', rawHeaders: ['Host', 'evil.example:8000', ...pairs.flat()], unix: false },
            port,
          ),
          undefined,
        );
      },
    ),
  );
});
