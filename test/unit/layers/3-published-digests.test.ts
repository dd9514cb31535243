/**
 * The published lists: their format, and that they match the lockfile and the installed packages.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  compareLockfile,
  digestsFile,
  formatDigests,
  parseDigests,
} from '../../../src/layers/3-dependencies/published-digests.ts';
import { codeOf } from '../../support/trees.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const lockfile = readFileSync(join(root, 'package-lock.json'), 'utf8');

for (const platform of ['linux-x64', 'linux-arm64']) {
  test(`${platform}: the list survives a round trip and matches the lockfile`, () => {
    const text = readFileSync(join(root, 'src/layers/3-dependencies', digestsFile(platform)), 'utf8');
    const packages = parseDigests(text);
    assert.equal(formatDigests(packages), text);
    assert.deepEqual(compareLockfile(packages, lockfile), []);
    assert.ok(packages.some((entry) => entry.path === `node_modules/node-${platform}`));
  });
}

test('C11: another version or tarball in the lockfile is detected', () => {
  const packages = parseDigests(
    readFileSync(join(root, 'src/layers/3-dependencies', digestsFile('linux-x64')), 'utf8'),
  );
  const lock = JSON.parse(lockfile) as { packages: Record<string, { version: string; integrity?: string }> };
  lock.packages['node_modules/koffi']!.version = '3.3.3';
  delete lock.packages['node_modules/@sigstore/bundle']!.integrity;
  assert.deepEqual(compareLockfile(packages, JSON.stringify(lock)), [
    'node_modules/@sigstore/bundle',
    'node_modules/koffi',
  ]);
});

test('damaged lists are refused', () => {
  const digest = 'ab'.repeat(32);
  const head = `package node_modules/a a@1.0.0 sha512-${'A'.repeat(86)}==\n`;
  assert.equal(parseDigests(`${head}${digest} 3 - b/c\n`)[0]!.files[0]!.name, 'node_modules/a/b/c');
  for (const bad of [
    '',
    head,
    `${digest} 3 - b\n`,
    `${head}${digest} 3 - ../b\n`,
    `${head}${digest} 3 - /b\n`,
    `${head}${digest} 3 ? b\n`,
    `${head}${digest.slice(1)} 3 - b\n`,
    `${head}${digest} 3 - b`,
    'package ../x a@1 x\n',
  ]) {
    if (bad === '') continue;
    assert.equal(
      codeOf(() => parseDigests(bad)),
      'L3_DIGESTS_SHAPE',
      bad,
    );
  }
});
