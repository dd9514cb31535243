/**
 * Write permissions around and in a small installation: other users refuse the start, groups and the current user are
 * reported, and root alone means enforced.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { KwyreError } from '../../../src/base/errors.ts';
import { programCheck } from '../../../src/layers/3-dependencies/tree-checks.ts';
import { verifyTree } from '../../../src/layers/3-dependencies/tree-verifier.ts';
import { install, order } from '../../support/installation.ts';

const asRoot = process.getuid!() === 0;
/** Neither root nor whoever runs the tests. */
const stranger = 61_241;

/** The refusal, or `undefined`. */
function refusal(root: string, uid = process.getuid!()): KwyreError | undefined {
  try {
    verifyTree(order(root, { uid }));
    return undefined;
  } catch (error) {
    assert.ok(error instanceof KwyreError, String(error));
    assert.equal(error.exitCode, 13);
    return error;
  }
}

test('a world-writable folder, own file or launcher refuses the start, with the command that fixes it', () => {
  for (const name of [
    '',
    'src',
    'src/cli',
    'src/cli/main.ts',
    'dist',
    'dist/cli/main.js',
    'node_modules',
    'kwyre',
    'page',
    'package.json',
    'seal',
  ]) {
    using tree = install();
    const path = name === '' ? tree.path : join(tree.path, name);
    if (!fs.existsSync(path)) fs.mkdirSync(path);
    const before = fs.statSync(path).mode & 0o777;
    fs.chmodSync(path, before | 0o002);
    const error = refusal(tree.path);
    assert.equal(error?.code, 'L3_OTHERS_WRITE', path);
    assert.ok(error.message.includes(`${path} (world-writable)`), error.message);
    assert.ok(error.remedy.includes(`chmod o-w ${path}`), error.remedy);
    fs.chmodSync(path, before);
    assert.equal(refusal(tree.path), undefined, path);
  }
});

test('a folder above, own file or package of another user refuses the start', () => {
  using tree = install();
  if (!asRoot) {
    // Without root nobody can make files of others: somebody else looks at ours.
    assert.equal(refusal(tree.path, stranger)?.code, 'L3_OTHERS_WRITE');
    return;
  }
  fs.mkdirSync(join(tree.path, 'above'));
  fs.renameSync(join(tree.path, 'node_modules'), join(tree.path, 'above', 'node_modules'));
  for (const name of ['src', 'dist']) fs.renameSync(join(tree.path, name), join(tree.path, 'above', name));
  const root = join(tree.path, 'above');
  for (const name of ['..', '', 'src', 'dist/cli/main.js', 'node_modules']) {
    const path = join(root, name).replace(/\/$/, '');
    fs.chownSync(path, stranger, 0);
    for (const uid of [0, stranger + 1]) {
      const error = refusal(root, uid);
      assert.equal(error?.code, 'L3_OTHERS_WRITE', path);
      assert.ok(error.message.includes(`${path} (owned by user ${stranger})`), error.message);
      assert.match(error.remedy, /chown -hR root:root|chown -h root:root/);
    }
    assert.equal(refusal(root, stranger), undefined, 'its owner runs it');
    assert.equal(verifyTree(order(root, { uid: stranger })).checks[0]!.status, 'degraded');
    assert.equal(programCheck(verifyTree(order(root, { uid: stranger })), 0).status, 'degraded');
    fs.chownSync(path, 0, 0);
  }
  // Packages are looked at file by file.
  const inside = 'node_modules/koffi/index.js';
  fs.chownSync(join(root, inside), stranger, 0);
  for (const uid of [0, stranger + 1])
    assert.match(refusal(root, uid)!.message, /unsafe access rights: node_modules\/koffi\/index\.js \(owned by user/);
  fs.chownSync(join(root, inside), 0, 0);
  assert.equal(
    verifyTree(order(root, { uid: stranger })).checks[0]!.status,
    'enforced',
    'root alone can change it, and somebody else runs it',
  );
});

test('write permission of a group without known members is reported, never enforced', () => {
  using tree = install();
  const gid = 61_999;
  if (asRoot)
    for (const name of ['', 'dist/cli/main.js', 'node_modules/koffi/index.js'])
      fs.chownSync(join(tree.path, name), 0, gid);
  for (const name of ['', 'dist/cli/main.js', 'node_modules/koffi/index.js']) {
    const path = join(tree.path, name).replace(/\/$/, '');
    const before = fs.statSync(path).mode & 0o777;
    fs.chmodSync(path, before | 0o020);
    const uid = asRoot ? stranger : process.getuid!();
    const [tree3] = verifyTree(order(tree.path, { uid })).checks;
    assert.equal(tree3!.status, 'degraded', path);
    assert.ok(tree3!.evidence.includes(`writable by group ${fs.statSync(path).gid}`), tree3!.evidence);
    fs.chmodSync(path, before);
  }
  if (asRoot) assert.equal(verifyTree(order(tree.path, { uid: stranger })).checks[0]!.status, 'enforced');
});

test('write permission of a group with another member refuses the start, on the path and in packages', () => {
  using tree = install();
  // Any group that is somebody's own, and neither root's nor that of who runs the tests.
  const [gid] = fs
    .readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter(([, , uid, group]) => Number(uid) > 0 && Number(uid) !== process.getuid!() && Number(group) > 0)
    .map(([, , , group]) => Number(group));
  assert.ok(gid !== undefined);
  for (const name of ['dist/cli/main.js', 'node_modules/koffi', 'node_modules/koffi/index.js']) {
    const path = join(tree.path, name);
    const before = fs.statSync(path).mode & 0o777;
    if (asRoot) fs.chownSync(path, 0, gid);
    fs.chmodSync(path, before | 0o020);
    // Who is no root can give a file to no such group: somebody else looks at the files of the group of who runs the
    // tests.
    const error = refusal(tree.path, asRoot ? 0 : stranger);
    assert.equal(error?.code, 'L3_OTHERS_WRITE', path);
    if (asRoot) assert.ok(error.message.includes(`${path} (writable by group ${gid})`), error.message);
    fs.chmodSync(path, before);
  }
});

test('layer 4 is enforced only if the verifier is', () => {
  const rootOnly = { rootOnly: true, reason: '' };
  assert.equal(programCheck({ signed: true, access: rootOnly }, 0).status, 'enforced');
  assert.match(programCheck({ signed: false, access: rootOnly }, 0).evidence, /not signed/);
  assert.equal(programCheck({ signed: false, access: rootOnly }, 0).status, 'degraded');
  assert.equal(programCheck({ signed: true, access: { rootOnly: false, reason: 'why' } }, 0).status, 'degraded');
});
