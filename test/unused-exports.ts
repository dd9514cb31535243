/**
 * Lists every `export` of `src` that no other file of `src` imports, types included.
 *
 * An export that only a test imports is allowed if the docstring of its declaration says `@internal`.
 * `./test/run check` runs this; it exits with status 1 when something is listed.
 *
 * Limits: matches import and export declarations by name; an import of a whole module (`import * as x`, or a dynamic
 *         one whose result is not taken apart at once) counts as a use of every export of it.
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

/** An export that should go: its file below the root, its name, and whether a test imports it. */
export type UnusedExport = { readonly file: string; readonly name: string; readonly testOnly: boolean };

type Export = { readonly name: string; readonly internal: boolean };
type Module = { readonly exports: Export[]; readonly imports: { readonly path: string; readonly name: string }[] };

/** Stands for every export of a module. */
const wholeModule = '*';

function parse(path: string): Module {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ESNext, true);
  const module: Module = { exports: [], imports: [] };
  const use = (specifier: ts.Node | undefined, name: string): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier) || !specifier.text.startsWith('.')) return;
    module.imports.push({ path: join(path, '..', specifier.text), name });
  };
  const declare = (node: ts.Node, name: ts.Node): void => {
    module.exports.push({
      name: name.getText(source),
      internal: ts.getJSDocTags(node).some((tag) => tag.tagName.text === 'internal'),
    });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      const bindings = node.importClause?.namedBindings;
      if (bindings === undefined) return;
      if (ts.isNamespaceImport(bindings)) use(node.moduleSpecifier, wholeModule);
      else for (const one of bindings.elements) use(node.moduleSpecifier, (one.propertyName ?? one.name).text);
    } else if (ts.isExportDeclaration(node)) {
      if (node.exportClause === undefined || !ts.isNamedExports(node.exportClause)) return;
      for (const one of node.exportClause.elements) {
        declare(one, one.name);
        use(node.moduleSpecifier, (one.propertyName ?? one.name).text);
      }
    } else {
      if (ts.canHaveModifiers(node) && ts.getModifiers(node)?.some((one) => one.kind === ts.SyntaxKind.ExportKeyword)) {
        if (ts.isVariableStatement(node)) {
          for (const { name } of node.declarationList.declarations)
            if (ts.isIdentifier(name)) declare(node, name);
            else for (const one of name.elements) if (ts.isBindingElement(one)) declare(node, one.name);
        } else {
          const { name } = node as ts.DeclarationStatement;
          if (name !== undefined) declare(node, name);
        }
      }
      if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
        const first = node.qualifier?.getText(source).split('.')[0];
        use(node.argument.literal, first ?? wholeModule);
      }
      if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
        for (const name of namesTaken(node, source)) use(node.arguments[0], name);
      ts.forEachChild(node, visit);
    }
  };
  ts.forEachChild(source, visit);
  return module;
}

/**
 * The names that code takes from a dynamic import: `const { a } = await import(…)`, `(await import(…)).a`, or
 * `const [{ a }] = await Promise.all([import(…)])`.
 */
function namesTaken(call: ts.CallExpression, source: ts.SourceFile): string[] {
  const outer = (node: ts.Node): ts.Node =>
    ts.isAwaitExpression(node.parent) || ts.isParenthesizedExpression(node.parent) ? outer(node.parent) : node;
  const namesOf = (pattern: ts.Node | undefined): string[] =>
    pattern !== undefined && ts.isObjectBindingPattern(pattern)
      ? pattern.elements.map((one) => (one.propertyName ?? one.name).getText(source))
      : [wholeModule];
  const user = outer(call).parent;
  if (ts.isPropertyAccessExpression(user) && user.name.text !== 'then') return [user.name.text];
  if (ts.isVariableDeclaration(user)) return namesOf(user.name);
  if (!ts.isArrayLiteralExpression(user) || !ts.isCallExpression(user.parent)) return [wholeModule];
  const all = outer(user.parent).parent;
  if (!ts.isVariableDeclaration(all) || !ts.isArrayBindingPattern(all.name)) return [wholeModule];
  const element = all.name.elements[user.elements.indexOf(call)];
  return element !== undefined && ts.isBindingElement(element) ? namesOf(element.name) : [wholeModule];
}

/** The unused exports of `src` below a root. */
export function unusedExports(root: string): UnusedExport[] {
  const list = (folder: string): string[] =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
      .map((name) => join(root, folder, name));
  const [bySource, byTest] = [new Set<string>(), new Set<string>()];
  const declared: { file: string; path: string; export: Export }[] = [];
  for (const path of list('src')) {
    const { exports, imports } = parse(path);
    for (const one of imports) bySource.add(`${one.path} ${one.name}`);
    for (const one of exports) declared.push({ file: relative(root, path), path, export: one });
  }
  for (const path of list('test')) for (const one of parse(path).imports) byTest.add(`${one.path} ${one.name}`);
  const isIn = (used: Set<string>, path: string, name: string): boolean =>
    used.has(`${path} ${name}`) || used.has(`${path} ${wholeModule}`);
  return declared
    .filter(({ path, export: { name } }) => !isIn(bySource, path, name))
    .map(({ file, path, export: { name, internal } }) => ({ file, name, internal, testOnly: isIn(byTest, path, name) }))
    .filter(({ internal, testOnly }) => !(internal && testOnly))
    .map(({ file, name, testOnly }) => ({ file, name, testOnly }))
    .sort((a, b) => (a.file < b.file ? -1 : Number(a.file > b.file)));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const found = unusedExports(join(import.meta.dirname, '..'));
  for (const { file, name, testOnly } of found)
    console.error(`${file}: ${name} is exported but ${testOnly ? 'only a test imports it' : 'nothing imports it'}`);
  if (found.length > 0) process.exitCode = 1;
}
