/**
 * The marker of a violation.
 * @module
 */
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { KwyreError } from '../../../src/base/errors.ts';
import {
  assertNoViolation,
  clearViolation,
  markerPaths,
  markViolation,
  readBootId,
  readViolation,
} from '../../../src/state/violation-marker.ts';

let state = '';
/** A folder of this boot, for when the state folder takes nothing. */
let runtime = '';
let places: readonly [string, ...string[]] = [''];
const facts = { code: 'L6_VIOLATION', detector: 'tracer', pid: 4711, uid: 0, name: 'gdb' };

beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'kwyre-violation-'));
  runtime = mkdtempSync(join(tmpdir(), 'kwyre-runtime-'));
  places = markerPaths(state, 0, [join(runtime, 'absent'), runtime]);
});
afterEach(() => {
  for (const folder of [state, runtime]) rmSync(folder, { recursive: true, force: true });
});

const refused = (error: unknown) =>
  error instanceof KwyreError && error.code === 'L6_VIOLATION_STANDS' && error.exitCode === 16;

test('L6-18 no start in the same boot until acknowledged', () => {
  assertNoViolation(places, 'boot-a', false);
  assert.equal(markViolation(places, facts, 'boot-a'), join(state, 'violation.json'));
  assert.equal(statSync(join(state, 'violation.json')).mode & 0o777, 0o600);
  assert.equal(readViolation(places, 'boot-a')?.name, 'gdb');
  assert.throws(() => {
    assertNoViolation(places, 'boot-a', false);
  }, refused);
  assert.throws(
    () => {
      assertNoViolation(places, 'boot-a', false);
    },
    refused,
    'asking does not clear it',
  );
  assertNoViolation(places, 'boot-a', true);
  assertNoViolation(places, 'boot-a', false);
});

test('another boot makes it void', () => {
  markViolation(places, facts, 'boot-a');
  assertNoViolation(places, 'boot-b', false);
  assert.equal(readViolation(places, 'boot-a'), undefined);
});

test('a damaged marker still stands', () => {
  for (const path of [places[0], places.at(-1)!]) {
    for (const text of ['', '{', '[]', 'null', '{"bootId":7}', '{"bootId":"boot-b"}']) {
      writeFileSync(path, text, { mode: 0o600 });
      assert.throws(
        () => {
          assertNoViolation(places, 'boot-a', false);
        },
        refused,
        text,
      );
    }
    clearViolation(places);
    assert.equal(readViolation(places, 'boot-a'), undefined);
  }
});

test('what others put where everybody may write is no marker: it ends no start, and is not taken away', () => {
  let path = '/proc/version'; // root's, for an ordinary user
  if (process.getuid?.() === 0) {
    path = join(runtime, 'marker');
    writeFileSync(path, '{', { mode: 0o600 });
    chownSync(path, 4711, 4711);
  }
  assertNoViolation([places[0], path], 'boot-a', false);
  assert.ok(existsSync(path));
});

test('L6-18 a state folder that was removed: the marker lies in a folder of this boot, and the next start finds it', () => {
  rmSync(state, { recursive: true });
  assert.equal(markViolation(places, facts, 'boot-a'), places.at(-1));
  assert.equal(statSync(places.at(-1)!).mode & 0o777, 0o600);
  assert.throws(() => {
    assertNoViolation(places, 'boot-a', false);
  }, refused);
  assertNoViolation(places, 'boot-a', true);
  assert.deepEqual(readdirSync(runtime), [], 'acknowledged: nothing stays behind');
});

test('nowhere to write: it says so and does not throw', () => {
  for (const folder of [state, runtime]) rmSync(folder, { recursive: true });
  assert.equal(markViolation(places, facts, 'boot-a'), undefined);
});

test('two paths to one state folder are one; two folders are two', () => {
  symlinkSync(state, join(runtime, 'link'));
  assert.equal(markerPaths(join(runtime, 'link'), 0, ['/x'])[1], markerPaths(state, 0, ['/x'])[1]);
  assert.notEqual(markerPaths(runtime, 0, ['/x'])[1], markerPaths(state, 0, ['/x'])[1]);
  for (const folder of ['/run/kwyre', '/run/user/1000', '/dev/shm'])
    assert.ok(
      markerPaths(state, 1000).some((path) => path.startsWith(`${folder}/kwyre-violation-1000-`)),
      folder,
    );
});

test("the boot id is the kernel's", () => {
  assert.match(readBootId(), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});
