/**
 * Links and paths in the documents lead somewhere.
 * @module
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
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

test('every file that a document links to or names exists', () => {
  const missing: string[] = [];
  for (const document of documents) {
    const text = readFileSync(join(root, document), 'utf8');
    for (const [, target] of text.matchAll(link))
      if (!existsSync(join(root, dirname(document), target!))) missing.push(`${document} links to ${target!}`);
    for (const [name] of text.matchAll(path))
      if (!existsSync(join(root, name)) && !existsSync(join(root, 'src', name)))
        missing.push(`${document} names ${name}`);
  }
  assert.deepEqual(missing, []);
});
