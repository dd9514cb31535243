/**
 * Tokens: which headers carry them, and which tokens are accepted.
 * @module
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { credentialOf, TokenTable } from '../../../src/layers/1-loopback/bearer-token.ts';

const digest = (token: string) => createHash('sha256').update(token).digest('hex');
const entry = (token: string, principal: string) => ({ digest: digest(token), principal: principal.repeat(32) });

test('both headers take the same code path', () => {
  const kind = (...headers: string[]) => credentialOf(headers).kind;
  for (const good of [
    ['Authorization', 'Bearer abc'],
    ['authorization', 'bEaReR   abc'],
    ['X-Api-Key', 'abc'],
  ])
    assert.deepEqual(credentialOf(good), { kind: 'token', token: 'abc' });
  assert.equal(kind('Cookie', 'abc'), 'absent');
  for (const bad of [
    ['Authorization', 'abc'],
    ['Authorization', 'Basic abc'],
    ['Authorization', 'Bearer '],
    ['Authorization', 'Bearer a b'],
    ['x-api-key', ''],
    ['x-api-key', 'ä'],
    ['x-api-key', 'a'.repeat(257)],
    ['Authorization', 'Bearer a', 'x-api-key', 'a'],
    ['x-api-key', 'a', 'x-api-key', 'a'],
  ]) {
    assert.equal(kind(...bad), 'malformed', bad.join(' '));
  }
});

test('a token authenticates its own holder, and a new list revokes the old tokens', () => {
  const ring = new TokenTable([entry('first', 'a'), entry('second', 'b')]);
  assert.equal(ring.match('first')?.toString('hex'), 'a'.repeat(32));
  assert.equal(ring.match('second')?.toString('hex'), 'b'.repeat(32));
  for (const wrong of ['', 'First', 'first ', digest('first')]) assert.equal(ring.match(wrong), undefined);
  ring.replace([entry('second', 'b')]);
  assert.equal(ring.match('first'), undefined);
  ring.replace([]);
  assert.equal(ring.match('second'), undefined);
});

test('a damaged entry accepts no token', () => {
  const ring = new TokenTable([
    { digest: '', principal: '' },
    { digest: digest('x'), principal: 'zz' },
    { digest: digest('x').slice(2), principal: 'a'.repeat(32) },
  ]);
  for (const token of ['', 'x']) assert.equal(ring.match(token), undefined);
});

test('property: no other string passes as the token', () => {
  const ring = new TokenTable([entry('kw-the-token', 'c')]);
  fc.assert(fc.property(fc.string(), (guess) => (ring.match(guess) !== undefined) === (guess === 'kw-the-token')));
});
