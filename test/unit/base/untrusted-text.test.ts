/** Untrusted text is harmless on a terminal. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { guardConsole, printable, visible } from '../../../src/base/untrusted-text.ts';

const hostile = 'a\u001b]0;title\u0007b\u009b31mc\u202ed\u2066e\u200ff\r\ng\0h\ud800i\u{e0041}j';

test('one line without control, format and bidirectional characters, lone surrogates and tags', () => {
  assert.equal(printable(hostile, 100), 'a?]0;title?b?31mc?d?e?f  g?h?i?j');
  assert.equal(printable('Zoë 模型 أ', 100), 'Zoë 模型 أ', 'letters stay');
  assert.equal(printable('x'.repeat(50), 8), 'xxxxxxxx');
  assert.equal(printable('\u{1f600}', 1), '?', 'a cut leaves no half of a character');
  for (let code = 0; code < 0x110000; code += code < 0x3000 ? 1 : 257) {
    const out = printable(`[${String.fromCodePoint(code)}]`, 10);
    assert.doesNotMatch(out, /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u, code.toString(16));
  }
});

test('escaped text has the same value in JSON', () => {
  const text = JSON.stringify({ name: hostile }, undefined, 2);
  assert.doesNotMatch(visible(text), /[^\P{C}\n]/u);
  assert.deepEqual(JSON.parse(visible(text)), { name: hostile });
});

test('everything that a process prints is escaped', () => {
  const printed: unknown[][] = [];
  const target = {
    log: (...parts: unknown[]) => {
      printed.push(parts);
    },
    error: (...parts: unknown[]) => {
      printed.push(parts);
    },
  };
  guardConsole(target);
  target.log(hostile);
  target.error('%s is it', hostile);
  target.error(new Error(hostile));
  assert.equal(printed.length, 3);
  for (const parts of printed) assert.doesNotMatch(parts.join(), /[^\P{C}\n\t]|[\u2028\u2029]/u);
});

test('the server and the commands print nothing unescaped, such as the name of a folder that somebody chose', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-text-'));
  try {
    const name = join(folder, 'a\u001b]0;title\u0007');
    writeFileSync(name, ''); // a file where a folder is needed: both say so, with its name
    for (const command of ['serve', 'status']) {
      const { stdout, stderr, status } = spawnSync(
        join(import.meta.dirname, '..', '..', '..', 'kwyre'),
        [command, '--state', join(name, 'state')],
        { encoding: 'utf8', timeout: 60_000 },
      );
      assert.ok(status !== 0 && stderr.includes('a\\u001b]0;title\\u0007'), `${command}: ${stderr}`);
      assert.doesNotMatch(stdout + stderr, /[^\P{C}\n\t]|[\u2028\u2029]/u, command);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
