/**
 * The stripped sources: `sha256sum -c` reads the list of digests, and any other byte is named.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { sourceList, strippedFaults, stripSources } from '../../../src/layers/3-dependencies/stripped-sources.ts';
import { makeTree } from '../../support/trees.ts';

function make(): ReturnType<typeof makeTree> {
  const tree = makeTree({
    'src/a.ts': "import { b } from './deep/b.ts';\nexport const a: number = b;\n",
    'src/deep/b.ts': 'export const b = 1 as number;\n',
    'src/notes.txt': '',
    'package-lock.json': '{}',
  });
  for (const [name, text] of stripSources(fs, tree.path)) {
    fs.mkdirSync(dirname(join(tree.path, 'dist', name)), { recursive: true });
    fs.writeFileSync(join(tree.path, 'dist', name), text);
  }
  return tree;
}
const check = (root: string) => spawnSync('sha256sum', ['-c', `dist/${sourceList}`], { cwd: root }).status;

test('types are stripped, positions stay, and the list names every source and the lockfile', () => {
  using tree = make();
  assert.deepEqual(strippedFaults(fs, tree.path), []);
  assert.equal(
    fs.readFileSync(join(tree.path, 'dist/a.js'), 'utf8'),
    "import { b } from './deep/b.js';\nexport const a         = b;\n",
  );
  assert.deepEqual(
    fs
      .readFileSync(join(tree.path, 'dist', sourceList), 'utf8')
      .split('\n')
      .map((line) => line.slice(66)),
    ['src/a.ts', 'src/deep/b.ts', 'package-lock.json', ''],
  );
  assert.equal(check(tree.path), 0);
});

test('the list detects a changed source, whatever its times, a missing one, and another lockfile', () => {
  for (const change of [
    (root: string) => {
      fs.appendFileSync(join(root, 'src/a.ts'), ' ');
      fs.utimesSync(join(root, 'src/a.ts'), 0, 0);
    },
    (root: string) => fs.rmSync(join(root, 'src/deep/b.ts')),
    (root: string) => fs.writeFileSync(join(root, 'package-lock.json'), '{} '),
    (root: string) => fs.writeFileSync(join(root, 'dist', sourceList), ''),
    (root: string) => fs.writeFileSync(join(root, 'dist', sourceList), 'a'.repeat(64)),
  ]) {
    using tree = make();
    change(tree.path);
    assert.notEqual(check(tree.path), 0);
    if (fs.existsSync(join(tree.path, 'src/deep/b.ts'))) assert.ok(strippedFaults(fs, tree.path).length > 0);
  }
});

test('files without a source, missing ones and different ones are named', () => {
  using tree = make();
  fs.writeFileSync(join(tree.path, 'dist/evil.js'), '');
  fs.appendFileSync(join(tree.path, 'dist/a.js'), '//');
  fs.rmSync(join(tree.path, 'dist/deep/b.js'));
  assert.deepEqual(
    strippedFaults(fs, tree.path).map(({ kind, name }) => `${kind} ${name}`),
    ['changed dist/a.js', 'missing dist/deep/b.js', 'extra dist/evil.js'],
  );
});
