/**
 * A model with the keyless signature of its maker, from end to end: signed under a root of the test's own, which stands in a
 * copy of the program, and added by the real command. One change at a time and nothing is approved.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { excludedFiles } from '../../src/cli/upstream.ts';
import { defaultExclusions, formatStatement, parseStatement } from '../../src/oms/statement.ts';
import { hashFiles } from '../../src/oms/sign.ts';
import { listModelRecords } from '../../src/state/models.ts';
import { kwyre, makeState } from '../support/approved.ts';
import { copyInstallation } from '../support/copy.ts';
import { tinyShape, writeModel } from '../support/gguf.ts';
import type { KeylessBundle, Maker, Otherwise } from '../support/sigstore.ts';
import { Sigstore } from '../support/sigstore.ts';
import { anyRights, fault, makeKey, makeTree } from '../support/trees.ts';

const sigstore = new Sigstore();
const copy = copyInstallation();
const folder = makeTree({ 'README.md': 'a model of random weights\n' });
after(() => {
  copy[Symbol.dispose]();
  folder[Symbol.dispose]();
});
fs.writeFileSync(join(copy.path, 'src/cli/trusted-root.json'), sigstore.trustedRoot());
writeModel(join(folder.path, 'tiny.gguf'), tinyShape);

const maker: Maker = { identity: 'maker@models.test', issuer: 'https://accounts.test' };
const files = hashFiles({ disk: fs, layer: 4, root: folder.path, only: undefined, excluded: excludedFiles, rights: anyRights, name: 'tiny', method: { kind: 'files' } }, fault);
const statement = formatStatement('tiny', files, { kind: 'files' }, [...defaultExclusions, 'model.sig']);
const another = formatStatement('tiny', files.slice(0, 1), { kind: 'files' }, []);
const sign = (otherwise?: Otherwise, who = maker): KeylessBundle => sigstore.sign(statement, who, otherwise);

/** Adds the folder with this signature in it; says what was approved afterwards. */
function add(bundle: KeylessBundle | Buffer, more: readonly string[] = [], repository = copy.path): { code: number | null; output: string; approved: string[] } {
  using state = makeState();
  fs.writeFileSync(join(folder.path, 'model.sig'), Buffer.isBuffer(bundle) ? bundle : JSON.stringify(bundle));
  const { code, output } = kwyre(['model', 'add', folder.path, '--name', 'tiny', '--yes', '--state', state.path, ...more], repository);
  return { code, output, approved: listModelRecords(state.path) };
}

function refused(result: ReturnType<typeof add>, reason: RegExp): void {
  assert.equal(result.code, 14, result.output);
  assert.match(result.output, reason);
  assert.deepEqual(result.approved, []);
}

test('the signature holds: the model is approved, and who signed is said exactly as the certificate has it', () => {
  const bundle = sign();
  const { code, output, approved } = add(bundle, ['--json']);
  assert.equal(code, 0, output);
  assert.deepEqual(approved, ['tiny']);
  const told = JSON.parse(output) as { upstream: string; root: string; files: number };
  assert.equal(told.upstream, 'model.sig: verified, 2 of 2 files, signed keyless by maker@models.test (vouched for by https://accounts.test); is that the maker of this model?');
  assert.equal(told.root, parseStatement(statement, { allowedIgnores: ['model.sig'] }, fault).root, 'the digest over what the maker signed');
  assert.equal(told.files, 2);
  const human = add(bundle, ['--upstream-identity', 'maker@models.test', '--upstream-issuer', 'https://accounts.test']);
  assert.equal(human.code, 0, human.output);
  assert.match(human.output, /^upstream {5}model\.sig: verified, 2 of 2 files, signed keyless by maker@models\.test \(vouched for by https:\/\/accounts\.test\)$/m);
  assert.ok(human.output.includes(`root sha256:${told.root}`), human.output);
});

test('a flipped byte of a file', () => {
  const path = join(folder.path, 'tiny.gguf');
  const bytes = fs.readFileSync(path);
  const flipped = Buffer.from(bytes);
  flipped[flipped.length - 100]! ^= 1;
  fs.writeFileSync(path, flipped);
  try {
    refused(add(sign()), /changed: tiny\.gguf[\s\S]*it is not what its maker signed/);
  } finally {
    fs.writeFileSync(path, bytes);
  }
});
