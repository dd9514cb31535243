/**
 * Prompts in a real pseudo-terminal (`script`): a question and two hidden ones after another, pasted at once,
 * interrupted, ended.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { copyInstallation } from '../support/copy.ts';
import { until } from '../support/server.ts';

const copy = copyInstallation();
const folder = mkdtempSync(join(tmpdir(), 'kwyre-prompts-'));
after(() => {
  copy[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

const passphrase = 'a few plain words';

/** Runs a command in a pseudo-terminal: types each answer once its question stands there. */
async function talk(
  command: string,
  dialogue: readonly (readonly [question: string, answer: string])[],
): Promise<{ code: number; said: string }> {
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: folder, TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let said = '';
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = once(child, 'close') as Promise<[number]>;
  let from = 0;
  for (const [question, answer] of dialogue) {
    await until(question, () => said.includes(question, from), 60_000);
    from = said.indexOf(question, from) + question.length;
    child.stdin.write(answer);
  }
  const [code] = await ended;
  return { code, said };
}

const seal = (state: string, ...more: string[]): string =>
  [join(copy.path, 'kwyre'), 'deps', 'seal', '--reason', 'test', '--state', join(folder, state), ...more].join(' ');
const sure = ['Sign exactly these files? [y/N] ', 'y\r'] as const;
const first = 'new passphrase for the operator key (12 characters or more): ';
const again = 'repeat the passphrase: ';

test('two passphrases that differ, one that is too short, Ctrl-C, Ctrl-D and a no change nothing, say so, and show no key that was typed', async () => {
  const cases: readonly (readonly [string, number, string, readonly (readonly [string, string])[]])[] = [
    ['differ', 2, 'the two passphrases differ', [sure, [first, `${passphrase}\r`], [again, 'some other words\r']]],
    ['short', 2, 'shorter than 12 characters', [sure, [first, 'brief\r']]],
    ['interrupted', 2, 'interrupted; nothing was changed', [sure, [first, 'some\x03']]],
    ['ended', 2, 'no passphrase was typed', [sure, [first, '\x04']]],
    ['no', 2, 'signing needs your confirmation', [[sure[0], 'n\r']]],
  ];
  for (const [name, code, words, dialogue] of cases) {
    const told = await talk(seal('refused'), dialogue);
    assert.equal(told.code, code, `${name}: ${told.said}`);
    assert.ok(told.said.includes(words), `${name}: ${told.said}`);
    assert.ok(!told.said.includes(passphrase) && !told.said.includes('some other'), name);
    assert.doesNotMatch(told.said, /Error|\bat .*:\d+:\d+/, name);
  }
  assert.ok(!existsSync(join(copy.path, 'seal')));
});

test('a yes, a new passphrase and the same again seal; the next one asks for it once, and takes what was pasted at once', async () => {
  const made = await talk(seal('state'), [sure, [first, `${passphrase}x\x7f\r`], [again, `${passphrase}\r`]]);
  assert.equal(made.code, 0, made.said);
  assert.match(made.said, /signed as number 1: \d+ files/);
  assert.ok(!made.said.includes(passphrase));
  const next = await talk(seal('state', '--yes'), [['passphrase of the operator key: ', `${passphrase}\rls\r`]]);
  assert.equal(next.code, 0, next.said);
  assert.match(next.said, /signed as number 2/);
});
