/**
 * Files that another user must not steer: planted links, FIFOs, foreign owners, wide modes and growing files.
 * @module
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { appendSafely, readSafely, replaceAtomically } from '../../../src/state/private-file.ts';
import { readRegularText } from '../../../src/state/root-files.ts';
import { readPrivate, writePrivate } from '../../../src/state/state-directory.ts';
import { readSignatures, writeSignatures } from '../../../src/state/tree-signatures.ts';

let folder = '';
let victim = '';
const at = (name: string) => join(folder, name);
const secret = 'what the victim wrote';

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'kwyre-private-file-'));
  victim = at('victim');
  fs.writeFileSync(victim, secret, { mode: 0o600 });
});
afterEach(() => {
  fs.rmSync(folder, { recursive: true, force: true });
});

const signatures = { tree: 'tree', runtime: 'runtime', trust: 'trust', line: 'line', installed: false } as const;

test('links planted where the signatures of an installation are written are not written through', () => {
  fs.mkdirSync(at('seal'));
  for (const name of ['tree.sig', 'runtime.sig', 'trust.json'])
    for (const suffix of ['', '.new', '.kwyre-new', `.${process.pid}`])
      fs.symlinkSync(victim, at(`seal/${name}${suffix}`));
  writeSignatures(folder, signatures);
  assert.equal(fs.readFileSync(victim, 'utf8'), secret);
  assert.equal(fs.statSync(victim).mode & 0o777, 0o600);
  for (const [name, text] of [
    ['tree.sig', 'tree'],
    ['runtime.sig', 'runtime'],
    ['trust.json', 'trust'],
  ] as const) {
    assert.ok(fs.lstatSync(at(`seal/${name}`)).isFile(), `${name} replaces the link`);
    assert.equal(fs.readFileSync(at(`seal/${name}`), 'utf8'), text);
  }
  assert.equal(readSignatures(folder)?.trust, 'trust');
});

test('a link planted in the place of the log of signatures is refused', () => {
  fs.mkdirSync(at('seal'));
  fs.symlinkSync(victim, at('seal/log.jsonl'));
  assert.throws(() => {
    writeSignatures(folder, signatures);
  }, /cannot write .*log\.jsonl \(ELOOP\)/);
  assert.equal(fs.readFileSync(victim, 'utf8'), secret);
});

test('the files of a signature are readable by every user, regardless of the umask', () => {
  const before = process.umask(0o077);
  try {
    writeSignatures(folder, signatures);
    writeSignatures(folder, signatures);
  } finally {
    process.umask(before);
  }
  for (const name of ['tree.sig', 'runtime.sig', 'trust.json', 'log.jsonl'])
    assert.equal(fs.statSync(at(`seal/${name}`)).mode & 0o777, 0o644, name);
  assert.equal(fs.readFileSync(at('seal/log.jsonl'), 'utf8'), 'line\nline\n');
});

test('a replacement has an unpredictable temporary name, and leaves the old file and no other one if it fails', () => {
  const seen = new Set<string>();
  const watcher = (): string[] => fs.readdirSync(folder).filter((name) => name !== 'victim');
  // A folder cannot be replaced by a file: the name is still there to be read in the error.
  fs.mkdirSync(at('target'));
  for (let i = 0; i < 3; i += 1) {
    assert.throws(
      () => {
        replaceAtomically(at('target'), 'new', { mode: 0o600 });
      },
      (error: NodeJS.ErrnoException) => {
        seen.add(error.path ?? '');
        return true;
      },
    );
    assert.deepEqual(watcher(), ['target']);
  }
  assert.equal(seen.size, 3);
  for (const path of seen) assert.match(path, /target\.[0-9a-f]{24}\.new$/);
});

test('a replacement has its mode and owner, and the former file is never written to', () => {
  const before = fs.openSync(victim, 'r');
  replaceAtomically(victim, 'new', { mode: 0o640, durable: true });
  assert.equal(fs.readFileSync(before, 'utf8'), secret, 'who has the old file open still reads the old text');
  fs.closeSync(before);
  assert.equal(fs.readFileSync(victim, 'utf8'), 'new');
  assert.equal(fs.statSync(victim).mode & 0o777, 0o640);
  if (process.getuid?.() !== 0) return;
  replaceAtomically(victim, 'new', { mode: 0o644, owner: { uid: 12345, gid: 23456 } });
  const { uid, gid } = fs.statSync(victim);
  assert.deepEqual([uid, gid], [12345, 23456]);
});

test('a read follows no link, waits for no FIFO, and obeys owner, mode and size', () => {
  const owner = process.getuid!();
  const rule = { owner, forbiddenMode: 0o077, maxBytes: 64 };
  assert.deepEqual(readSafely(at('nothing'), rule), { state: 'absent' });
  assert.deepEqual(readSafely(victim, rule), { state: 'read', bytes: Buffer.from(secret) });
  fs.symlinkSync(victim, at('link'));
  assert.deepEqual(readSafely(at('link'), rule), { state: 'failed', code: 'ELOOP' });
  execFileSync('mkfifo', ['-m', '600', at('fifo')]);
  assert.deepEqual(readSafely(at('fifo'), rule), { state: 'unsafe', why: 'kind' });
  assert.deepEqual(readSafely(folder, rule), { state: 'unsafe', why: 'kind' });
  assert.deepEqual(readSafely(victim, { ...rule, owner: owner + 1 }), { state: 'unsafe', why: 'owner' });
  assert.deepEqual(readSafely(victim, { ...rule, maxBytes: secret.length - 1 }), { state: 'unsafe', why: 'size' });
  assert.equal(readSafely(victim, { ...rule, maxBytes: secret.length }).state, 'read');
  fs.chmodSync(victim, 0o640);
  assert.deepEqual(readSafely(victim, rule), { state: 'unsafe', why: 'mode' });
  assert.equal(readSafely(victim, { owner, maxBytes: 64 }).state, 'read');
});

test('a file whose size the kernel does not say is read to its end, and no further than the limit', () => {
  const text = fs.readFileSync('/proc/self/mountinfo');
  assert.ok(text.length > 0 && fs.statSync('/proc/self/mountinfo').size === 0);
  assert.deepEqual(readSafely('/proc/self/mountinfo', { maxBytes: 1 << 20 }), { state: 'read', bytes: text });
  assert.deepEqual(readSafely('/proc/self/mountinfo', { maxBytes: text.length - 1 }), { state: 'unsafe', why: 'size' });
});

test('private files: 0600 whatever the umask; others who can read one void it; a link is refused', () => {
  const before = process.umask(0);
  try {
    writePrivate(at('token'), 'kw-1');
  } finally {
    process.umask(before);
  }
  assert.equal(fs.statSync(at('token')).mode & 0o777, 0o600);
  assert.equal(readPrivate(at('token')), 'kw-1');
  fs.chmodSync(at('token'), 0o604);
  assert.throws(() => readPrivate(at('token')), { code: 'L1_STATE_UNSAFE' });
  fs.symlinkSync(victim, at('link'));
  assert.throws(() => readPrivate(at('link')), { code: 'L1_STATE_UNSAFE' });
  assert.equal(readPrivate(at('nothing')), undefined);
  assert.throws(() => readPrivate(join(victim, 'below')), { code: 'STATE_UNREADABLE' });
  assert.equal(readRegularText(at('link')), undefined);
  assert.equal(readRegularText(victim), secret);
});

test('lines are appended to regular files only', () => {
  appendSafely(at('log'), 'one\n', 0o600);
  appendSafely(at('log'), 'two\n', 0o644);
  assert.equal(fs.readFileSync(at('log'), 'utf8'), 'one\ntwo\n');
  assert.equal(fs.statSync(at('log')).mode & 0o777, 0o600);
  execFileSync('mkfifo', [at('fifo')]);
  const reader = fs.openSync(at('fifo'), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  assert.throws(
    () => {
      appendSafely(at('fifo'), 'x', 0o600);
    },
    { code: 'EINVAL' },
  );
  fs.closeSync(reader);
});
