/**
 * What may be served at all: the embedded guide by its constant, and models that were added; nothing by its path alone.
 * @module
 */
import assert from 'node:assert/strict';
import { chmodSync, closeSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findApproved, openApprovedModel } from '../../../src/supervisor/start/model-resolver.ts';
import { codeOf, makeTree } from '../../support/trees.ts';

function makeState(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'kwyre-state-'));
  chmodSync(path, 0o700);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test('a path or a name that nobody approved is refused', () => {
  using state = makeState();
  using tree = makeTree({ 'x.gguf': 'GGUF' });
  for (const wanted of [
    join(tree.path, 'x.gguf'),
    tree.path,
    'unknown',
    '../../etc/passwd',
    '/dev/zero',
    'guide/../x',
  ]) {
    assert.equal(
      codeOf(() => findApproved(wanted, '/', state.path)),
      'L4_MODEL_UNAPPROVED',
      wanted,
    );
  }
});

test('a record without its trust file approves nothing', () => {
  using state = makeState();
  findApproved('guide', '/', state.path);
  assert.equal(
    codeOf(() => findApproved('x', '/', state.path)),
    'L4_MODEL_UNAPPROVED',
  );
  writeFileSync(join(state.path, 'models', 'x.json'), '{}', { mode: 0o600 });
  assert.equal(
    codeOf(() => findApproved('x', '/', state.path)),
    'L4_RECORD_SHAPE',
  );
});

test('the embedded model: another file in its place is refused by the constant', async () => {
  using state = makeState();
  using tree = makeTree({ 'models/guide/guide.gguf': 'GGUF something else' });
  const error = await openApprovedModel({
    wanted: undefined,
    root: tree.path,
    state: state.path,
    weights: 'memfd',
  }).then(
    (model) => {
      model.fds.forEach(closeSync);
    },
    (refusal: unknown) => refusal as { code: string; exitCode: number; message: string },
  );
  assert.ok(error);
  assert.equal(error.code, 'L4_FILES_DIFFER');
  assert.equal(error.exitCode, 14);
  assert.match(error.message, /guide\.gguf \(expected sha256:[0-9a-f]*, found sha256:[0-9a-f]{64}\)/);
});
