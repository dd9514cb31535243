/**
 * The event log: whole lines or none, and never an exception.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { EventLog } from '../../../src/state/event-log.ts';

let state = '';
let path = '';
let said: string[] = [];
let log: EventLog;
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'kwyre-events-'));
  path = join(state, 'events.jsonl');
  said = [];
  log = new EventLog(state, (reason) => said.push(reason));
});
afterEach(() => {
  rmSync(state, { recursive: true, force: true });
});
const lines = () =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { at: string; code: string; count?: number });

test('one JSON object a line, with the time in whole seconds', () => {
  log.write({ code: 'SERVER_READY', pid: 7 });
  log.write({ code: 'SERVER_STOPPED' });
  assert.deepEqual(
    lines().map(({ code }) => code),
    ['SERVER_READY', 'SERVER_STOPPED'],
  );
  for (const { at } of lines()) assert.match(at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.deepEqual(log.losses, { lost: 0, reason: '' });
});

const obstacles: readonly (readonly [string, string, () => void])[] = [
  [
    'a folder that was removed',
    'ENOENT',
    () => {
      rmSync(state, { recursive: true });
    },
  ],
  [
    'a folder in place of the file',
    'EISDIR',
    () => {
      mkdirSync(path);
    },
  ],
  [
    'a link in place of the file',
    'ELOOP',
    () => {
      symlinkSync('/dev/full', path);
    },
  ],
];
for (const [title, code, obstruct] of obstacles) {
  test(`${title}: lost, counted and said once; told in the log when it can be written again`, () => {
    obstruct();
    for (let i = 0; i < 3; i += 1) log.write({ code: 'L6_SEEN' });
    assert.deepEqual(log.losses, { lost: 3, reason: code });
    assert.deepEqual(said, [code]);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(state, { recursive: true });
    log.write({ code: 'SERVER_STOPPED' });
    assert.deepEqual(
      lines().map((line) => [line.code, line.count]),
      [
        ['EVENTS_LOST', 3],
        ['SERVER_STOPPED', undefined],
      ],
    );
    assert.deepEqual(log.losses, { lost: 3, reason: code }, 'what is lost stays lost');
    writeFileSync(path, '');
    log.write({ code: 'SERVER_READY' });
    assert.deepEqual(
      lines().map((line) => line.code),
      ['SERVER_READY'],
      'told once',
    );
  });
}

test('of a line that does not fit nothing stays: what was written before, and what comes after, are whole', () => {
  log.write({ code: 'SERVER_READY' });
  const long = { code: 'L6_SEEN', name: 'x'.repeat(4000) };
  const module = join(import.meta.dirname, '../../../src/state/event-log.ts');
  // No file of that process grows beyond a kilobyte or two: a part of the line is written.
  const script = `import { EventLog } from ${JSON.stringify(module)}; const log = new EventLog(${JSON.stringify(state)}, () => undefined); log.write(${JSON.stringify(long)}); console.log(log.losses.reason);`;
  const { stdout } = spawnSync(
    '/bin/sh',
    ['-c', 'ulimit -f 2; exec "$0" --input-type=module -e "$1"', process.execPath, script],
    { encoding: 'utf8' },
  );
  assert.equal(stdout.trim(), 'EFBIG');
  log.write({ code: 'SERVER_STOPPED' });
  assert.deepEqual(
    lines().map(({ code }) => code),
    ['SERVER_READY', 'SERVER_STOPPED'],
  );
});
