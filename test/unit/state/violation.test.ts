/**
 * The marker of a violation.
 * @module
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { KwyreError } from '../../../src/base/errors.ts';
import { assertNoViolation, clearViolation, markViolation, readBootId, readViolation } from '../../../src/state/violation.ts';

let state = '';
const facts = { code: 'L6_VIOLATION', detector: 'tracer', pid: 4711, uid: 0, name: 'gdb' };

beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'kwyre-violation-'));
});
afterEach(() => {
  rmSync(state, { recursive: true });
});

const refused = (error: unknown) => error instanceof KwyreError && error.code === 'L6_VIOLATION_STANDS' && error.exitCode === 16;

test('L6-18 no start in the same boot until acknowledged', () => {
  assertNoViolation(state, 'boot-a', false);
  markViolation(state, facts, 'boot-a');
  assert.equal(statSync(join(state, 'violation.json')).mode & 0o777, 0o600);
  assert.equal(readViolation(state, 'boot-a')?.name, 'gdb');
  assert.throws(() => { assertNoViolation(state, 'boot-a', false); }, refused);
  assert.throws(() => { assertNoViolation(state, 'boot-a', false); }, refused, 'asking does not clear it');
  assertNoViolation(state, 'boot-a', true);
  assertNoViolation(state, 'boot-a', false);
});

test('another boot makes it void', () => {
  markViolation(state, facts, 'boot-a');
  assertNoViolation(state, 'boot-b', false);
  assert.equal(readViolation(state, 'boot-a'), undefined);
});

test('a damaged marker still stands', () => {
  for (const text of ['', '{', '[]', 'null', '{"bootId":7}', '{"bootId":"boot-b"}']) {
    writeFileSync(join(state, 'violation.json'), text, { mode: 0o600 });
    assert.throws(() => { assertNoViolation(state, 'boot-a', false); }, refused, text);
  }
  clearViolation(state);
  assert.equal(readViolation(state, 'boot-a'), undefined);
});

test('the boot id is the kernel\'s', () => {
  assert.match(readBootId(), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});
