/**
 * Links and paths in the documents lead somewhere.
 * @module
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..', '..');
const documents = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

const link = /\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g;
/** Paths from the repository or from `src/`; capital letters stand for a name of your own. */
const path =
  /(?<![\w/.-])(?:src|test|docs|engine|gateway|layers|linux|policy|supervisor|wire)\/[a-z\d./-]+\.(?:ts|md|json)\b/g;

/** A test by its short name, as in `5-vault` or `unit/layers/5-vault`. */
const shortName = /`(?:[a-z]+\/)*((?!x-api-key)[1-6x]-[a-z-]+)`/g;
const tests = new Set(
  readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts') && !name.startsWith('node_modules'))
    .map((name) => basename(name, '.test.ts')),
);
const layerFolders = new Set(readdirSync(join(root, 'src', 'layers')));

test('every file and test that a document links to or names exists', () => {
  const missing: string[] = [];
  for (const document of documents) {
    const text = readFileSync(join(root, document), 'utf8');
    for (const [, target] of text.matchAll(link))
      if (!existsSync(join(root, dirname(document), target!))) missing.push(`${document} links to ${target!}`);
    for (const [name] of text.matchAll(path))
      if (!existsSync(join(root, name)) && !existsSync(join(root, 'src', name)))
        missing.push(`${document} names ${name}`);
    for (const [, name] of text.matchAll(shortName))
      if (!tests.has(name!) && !layerFolders.has(name!)) missing.push(`${document} names the test ${name!}`);
  }
  assert.deepEqual(missing, []);
});
