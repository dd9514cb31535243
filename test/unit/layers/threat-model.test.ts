/**
 * Claims, attacks, tests and `docs/THREAT-MODEL.md` agree: each leads to the others.
 * @module
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { layers, sharedClaims } from '../../../src/layers/index.ts';
import { attacks } from '../../threat-model/attack-table.ts';
import { attacksOn, mainTest, rewrite, shortList } from '../../threat-model/tables.ts';
import { idsIn, testsById } from '../../threat-model/titles.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const tests = testsById(root);
const claims = [...sharedClaims, ...layers.flatMap((layer) => layer.claims)];

test('THREAT-MODEL.md has the tables that `npm run threat-model` makes', () => {
  const document = readFileSync(join(root, 'docs', 'THREAT-MODEL.md'), 'utf8');
  assert.equal(rewrite(document, tests), document, 'run npm run threat-model');
});

test('claims are C1 to C26 in order, and the six layers are numbered 1 to 6', () => {
  assert.deepEqual(
    claims.map(({ id }) => id),
    Array.from({ length: 26 }, (_, index) => `C${index + 1}`),
  );
  assert.deepEqual(
    layers.map(({ number }) => number),
    [1, 2, 3, 4, 5, 6],
  );
});

test("README's table names the six layers", () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  for (const { number, name } of layers) assert.ok(readme.includes(`| ${number} | ${name} |`), name);
});

test('every claim has a test, and the files that it and its layer name exist', () => {
  for (const { id, keptIn } of claims) {
    assert.notEqual(mainTest(id, tests), undefined, `no test attacks ${id}`);
    assert.ok(existsSync(join(root, 'src', keptIn)), `${id}: src/${keptIn} does not exist`);
  }
  for (const { status } of layers) assert.ok(existsSync(join(root, 'src', status)), `src/${status} does not exist`);
});

test('every attack is aimed at a known claim, and has a test or a reason why it has none', () => {
  for (const [id, { claim, untested }] of attacks) {
    assert.ok(
      claims.some((known) => known.id === claim),
      `${id}: ${claim} is no claim`,
    );
    const files = tests.get(id) ?? [];
    if (untested === undefined) assert.ok(files.length > 0, `no test has ${id} in its title`);
    else assert.deepEqual(files, [], `${id} is said to have no test`);
  }
});

test('every id in the title of a test is known', () => {
  for (const [id, files] of tests)
    assert.ok(attacks.has(id) || claims.some((claim) => claim.id === id), `${files.join(', ')}: unknown id ${id}`);
});

test('a range of ids is read and written as such', () => {
  assert.deepEqual(idsIn('L2-01 to L2-04, C6').sort(), ['C6', 'L2-01', 'L2-02', 'L2-03', 'L2-04']);
  assert.equal(shortList(['L2-01', 'L2-02', 'L2-03', 'L2-05', 'L2-06']), 'L2-01 to L2-03, L2-05, L2-06');
  assert.deepEqual(attacksOn('C8'), ['L2-13']);
});
