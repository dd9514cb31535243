/**
 * Reads the ids of claims and attacks (`C17`, `L5-17`, `X-03`) from the titles of all tests.
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const idPattern = /\b(?:C\d{1,2}|L\d-\d{2}|X-\d{2})\b/g;

/** Returns the ids in a text; `L2-01 to L2-07` stands for seven. */
export function idsIn(text: string): string[] {
  const ids = [...text.matchAll(idPattern)].map(([id]) => id);
  for (const [, prefix, first, last] of text.matchAll(/\b(L\d|X)-(\d{2}) to \1-(\d{2})\b/g))
    for (let n = Number(first) + 1; n < Number(last); n += 1) ids.push(`${prefix}-${String(n).padStart(2, '0')}`);
  return ids;
}

function pieces(node: ts.Node): string[] {
  const texts: string[] = [];
  const visit = (inner: ts.Node): void => {
    if (ts.isStringLiteralLike(inner) || ts.isTemplateHead(inner) || ts.isTemplateMiddleOrTemplateTail(inner))
      texts.push(inner.text);
    ts.forEachChild(inner, visit);
  };
  visit(node);
  return texts;
}

/**
 * Returns the strings in a file that are titles of tests or parts of titles. A composed title (`${id}: ...`) takes its
 * ids from rows of data, so in a file with such a title every string counts.
 */
function titles(path: string): string[] {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest);
  const found: ts.Expression[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(?:t\.)?(?:test|it|describe)$/.test(node.expression.getText(source)))
      found.push(...node.arguments.slice(0, 1));
    ts.forEachChild(node, visit);
  };
  visit(source);
  const composed = found.some((title) => ts.isTemplateExpression(title) || ts.isIdentifier(title));
  return composed ? pieces(source) : found.flatMap(pieces);
}

const folders = ['attacks', 'e2e', 'unit', 'soak'];

/**
 * @param root - the repository
 * @returns for each id, the test files whose titles name it, relative to `test/`, attacks first
 */
export function testsById(root: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const folder of folders) {
    const names = readdirSync(join(root, 'test', folder), { recursive: true, encoding: 'utf8' });
    for (const name of names.filter((file) => file.endsWith('.test.ts')).sort())
      for (const id of new Set(titles(join(root, 'test', folder, name)).flatMap(idsIn)))
        found.set(id, [...(found.get(id) ?? []), `${folder}/${name}`]);
  }
  return found;
}
