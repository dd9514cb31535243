/**
 * A signed installation: own code is signed too; a signature that is missing, rolled back, mixed or foreign is refused.
 * @module
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestLibrary } from '../../../src/layers/3-dependencies/signature/system-libraries.ts';
import { formatTrustFile, signatureFault } from '../../../src/layers/3-dependencies/signature/trust-file.ts';
import { prepareSignedTree, unsignedEntries } from '../../../src/layers/3-dependencies/signature/signed-tree.ts';
import { signRuntimeStatement } from '../../../src/layers/3-dependencies/signature/runtime-statement.ts';
import type { SystemLibrary } from '../../../src/layers/3-dependencies/signature/runtime-statement.ts';
import type { SignatureFiles } from '../../../src/layers/3-dependencies/signature/signed-tree.ts';
import { treeRights } from '../../../src/layers/3-dependencies/tree-verifier.ts';
import { parseBundle } from '../../../src/oms/bundle.ts';
import { makeSigningKey, publicPem } from '../../../src/oms/operator-key.ts';
import { hashFiles, signFiles } from '../../../src/oms/signer.ts';
import type { SigningRequest } from '../../../src/oms/signer.ts';
import { parseStatement } from '../../../src/oms/statement.ts';
import { install, order } from '../../support/installation.ts';
import { codeOf } from '../../support/trees.ts';

const now = new Date();

const verifySignedTree = (...input: Parameters<typeof prepareSignedTree>) => prepareSignedTree(...input).compare();

function seal(root: string, key: KeyObject, sequence = 1, libraries: readonly SystemLibrary[] = []): SignatureFiles {
  const tree = order(root);
  const signing: SigningRequest = {
    disk: fs,
    layer: 3,
    root,
    only: undefined,
    excluded: unsignedEntries(tree),
    rights: treeRights(tree),
    name: 'kwyre',
    method: { kind: 'files' },
  };
  const text = signFiles(signing, hashFiles(signing, signatureFault), key, signatureFault);
  const digest = parseStatement(
    parseBundle(Buffer.from(text), signatureFault).payload,
    { allowedIgnores: [] },
    signatureFault,
  ).root;
  const runtime = signRuntimeStatement(
    {
      sequence,
      sealedAt: now.toISOString(),
      reason: 'test',
      root: digest,
      previous: null,
      lockfile: createHash('sha512').update(tree.lockfile).digest('hex'),
      libraries,
    },
    key,
  );
  return {
    trust: formatTrustFile({ key: publicPem(key), sequence, root: digest }, root),
    tree: Buffer.from(text),
    runtime: Buffer.from(runtime),
    installed: false,
  };
}
const { privateKey } = makeSigningKey();

test('a signed installation is verified; files outside the signed entries do not matter', () => {
  using tree = install();
  const sealed = seal(tree.path, privateKey);
  fs.mkdirSync(join(tree.path, 'seal'));
  fs.mkdirSync(join(tree.path, '.git'));
  const verified = verifySignedTree(order(tree.path), sealed, now);
  assert.equal(verified.signed, true);
  assert.deepEqual(
    verified.checks.map((check) => [check.id, check.status]),
    [
      ['sealed-tree', 'degraded'],
      ['runtime', 'enforced'],
    ],
  );
  const other = () => verifySignedTree(order(tree.path, { uid: 4242 }), { ...sealed, installed: true }, now);
  if (process.getuid!() === 0) assert.equal(other().checks[0]!.status, 'enforced', 'root owns the tree');
  else assert.throws(other, { code: 'L3_OTHERS_WRITE' }, 'the tree of one user, run by another');
});

test('L3-05: a hard link refuses the start if root signed', () => {
  using tree = install();
  const sealed = seal(tree.path, privateKey);
  fs.linkSync(join(tree.path, 'dist/cli/main.js'), join(tree.path, 'second'));
  assert.equal(
    codeOf(() => verifySignedTree(order(tree.path), { ...sealed, installed: true }, now)),
    'L3_FILES_DIFFER',
  );
});

test('L3-07: own code is signed too', () => {
  using tree = install();
  const sealed = seal(tree.path, privateKey);
  const code = (change: () => void, undo: () => void) => {
    change();
    const found = codeOf(() => verifySignedTree(order(tree.path), sealed, now));
    undo();
    return found;
  };
  const main = join(tree.path, 'dist/cli/main.js');
  assert.equal(
    code(
      () => fs.writeFileSync(main, 'evil'),
      () => fs.writeFileSync(main, ''),
    ),
    'L3_FILES_DIFFER',
  );
  assert.equal(
    code(
      () => fs.writeFileSync(join(tree.path, 'dist/new.js'), ''),
      () => fs.rmSync(join(tree.path, 'dist/new.js')),
    ),
    'L3_FILES_DIFFER',
  );
  assert.equal(
    code(
      () => fs.writeFileSync(join(tree.path, 'package.json'), '{}'),
      () => fs.rmSync(join(tree.path, 'package.json')),
    ),
    'L3_FILES_DIFFER',
    'a new signed entry',
  );
  assert.equal(
    code(
      () => undefined,
      () => undefined,
    ),
    'nothing was thrown',
  );
});

test('L3-06: a signature that is older than the last one, another one of its number, or by another key is refused', () => {
  using tree = install();
  const first = seal(tree.path, privateKey, 2);
  const seen = verifySignedTree(order(tree.path), first, now).signature!;
  const refuse = (files: SignatureFiles, remembered: typeof seen) =>
    codeOf(() => verifySignedTree(order(tree.path), files, now, remembered));
  assert.equal(refuse(first, seen), 'nothing was thrown');
  assert.equal(refuse(first, { ...seen, sequence: 3 }), 'L3_MANIFEST_ROLLBACK');
  assert.equal(refuse(first, { ...seen, sequence: 1, root: 'f'.repeat(64) }), 'nothing was thrown', 'a newer one');
  assert.equal(refuse(first, { ...seen, root: 'f'.repeat(64) }), 'L3_MANIFEST_ROLLBACK');
  assert.equal(
    refuse(first, { sequence: 2, key: '', root: '' }),
    'nothing was thrown',
    'an older version remembered the number alone',
  );
  const foreign = seal(tree.path, makeSigningKey().privateKey, 3);
  assert.equal(refuse(foreign, seen), 'L3_SEAL_KEY');
  assert.equal(refuse({ ...foreign, installed: true }, seen), 'nothing was thrown', "root's trust file says which key");
});

test('L3-09: a system library that was added or changed since signing is named', () => {
  using tree = install();
  const line = fs
    .readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .find((text) => / r-xp .*\/libm\.so\.6$/.test(text))!;
  const path = line.slice(line.indexOf('/'));
  const shown = (libraries: SystemLibrary[]) =>
    verifySignedTree(order(tree.path, { maps: line }), seal(tree.path, privateKey, 1, libraries), now)
      .checks.filter(({ id }) => id === 'system-libraries')
      .map(({ status, evidence }) => `${status} ${evidence}`);
  assert.deepEqual(shown([{ path, sha256: digestLibrary(order(tree.path), path) }]), []);
  assert.match(shown([])[0]!, /^degraded .*added: \S*libm\.so\.6$/);
  assert.match(shown([{ path, sha256: 'f'.repeat(64) }])[0]!, /^degraded .*changed: \S*libm\.so\.6$/);
});

test('L3-06, L3-14: manifests that are missing, damaged, rolled back, mixed or by another key', () => {
  using tree = install();
  const first = seal(tree.path, privateKey, 1);
  fs.writeFileSync(join(tree.path, 'dist/cli/main.js'), '// two');
  const second = seal(tree.path, privateKey, 2);
  const refuse = (files: SignatureFiles) => codeOf(() => verifySignedTree(order(tree.path), files, now));
  assert.equal(refuse(second), 'nothing was thrown');
  assert.equal(refuse({ ...second, tree: undefined }), 'L3_MANIFEST_ABSENT');
  assert.equal(refuse({ ...second, runtime: undefined }), 'L3_MANIFEST_ABSENT');
  assert.equal(refuse({ ...second, tree: Buffer.from('') }), 'L3_BUNDLE_SHAPE');
  assert.equal(refuse({ ...second, trust: '{}' }), 'L3_TRUST_SHAPE');
  assert.equal(refuse({ ...first, trust: second.trust }), 'L3_MANIFEST_ROLLBACK');
  assert.equal(refuse({ ...second, tree: first.tree }), 'L3_MANIFEST_MIXED');
  assert.equal(refuse({ ...second, runtime: first.runtime, trust: first.trust }), 'L3_MANIFEST_MIXED');
  const forged = seal(tree.path, makeSigningKey().privateKey, 2);
  assert.equal(refuse({ ...forged, trust: second.trust }), 'L3_SIGNER_UNTRUSTED');
  assert.equal(
    refuse({ ...second, runtime: second.tree }),
    'L3_RUNTIME_SHAPE',
    'a list of files is no runtime statement',
  );
  assert.equal(refuse({ ...second, tree: second.runtime }), 'L3_STATEMENT_KIND');
});
