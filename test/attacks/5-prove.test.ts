/**
 * `kwyre prove --layer 5` finds what is left behind: without that it would prove nothing where it says held.
 * Needs root: it searches the memory of processes that are not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Proof } from '../../src/cli/prove/attempt.ts';
import { copyInstallation } from '../support/copy.ts';
import { weaken } from '../support/weaken.ts';

test('L5-01 a server that keeps every text and overwrites none: breached, 15', () => {
  using copy = copyInstallation(true);
  weaken(copy.path, 5);
  const { status, stdout, stderr } = spawnSync(join(copy.path, 'kwyre'), ['prove', '--json', '--layer', '5'], {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: '/' },
    encoding: 'utf8',
    timeout: 120_000,
  });
  assert.equal(status, 15, stderr);
  const { proofs } = JSON.parse(stdout) as { proofs: Proof[] };
  const breached = proofs.filter((proof) => proof.verdict === 'breached');
  assert.ok(
    breached.some((proof) => proof.where === 'engine' && / copies$/.test(proof.got)),
    stdout,
  );
  assert.ok(
    proofs.some((proof) => proof.attempt === 'root reads the keys of conversations' && proof.verdict === 'held'),
    'the keys are another matter',
  );
});
