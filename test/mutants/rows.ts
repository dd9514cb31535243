/**
 * Every row of every policy, found by the compiler's own reading of the sources: what a mutant takes away.
 *
 * A row is an element of a table: a system call with its reason, a call with conditions, a path, a capability, a flag,
 * a descriptor, a feature and its need, a limit. Found anew each time, so a new row is a new mutant.
 * @module
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

/** One change of one file: the text that stands at a place, and what stands there instead. */
export type Mutant = {
  /** Stable as long as the row's own text is. */
  readonly id: string;
  /** What is gone, in words. */
  readonly what: string;
  /** Which tests should notice; a key of the table in `tests.ts`. */
  readonly kind: string;
  /** Below the repository. */
  readonly file: string;
  readonly at: number;
  readonly text: string;
  readonly instead: string;
};

/** Tables whose elements are rows although they are mere numbers or words. */
const plainTables: ReadonlySet<string> = new Set(['nodeFlags', 'roleFlags', 'gateway', 'engine', 'watchdog']);
/** Of a file whose tables are all of one kind; else the nearest name above decides. */
const kindOfFile: Readonly<Record<string, string>> = { 'supervisor-rights.ts': 'supervisor', 'waivers.ts': 'waivers' };
const kindOfTable: Readonly<Record<string, string>> = {
  forbidden: 'calls',
  forbiddenAfterStart: 'calls',
  answered: 'calls',
  startConditions: 'calls',
  conditions: 'calls',
  runtimeCalls: 'calls',
  calls: 'calls',
  connections: 'calls',
  readOnly: 'calls',
  listeners: 'calls',
  systemRead: 'paths',
  systemExecute: 'paths',
  read: 'paths',
  execute: 'paths',
  features: 'features',
  strictFeatures: 'features',
  limits: 'limits',
  secretMemory: 'memory',
  without: 'without',
  capabilities: 'capabilities',
  capabilitiesOfSupervisor: 'supervisorCapabilities',
  keptDescriptors: 'descriptors',
  nodeFlags: 'image',
  roleFlags: 'image',
  roleEnvironment: 'image',
};

function nameOf(node: ts.Node): string | undefined {
  if ((ts.isVariableDeclaration(node) || ts.isPropertyAssignment(node)) && ts.isIdentifier(node.name))
    return node.name.text;
  return undefined;
}

function namesAbove(node: ts.Node): string[] {
  const names: string[] = [];
  for (let up: ts.Node = node; !ts.isSourceFile(up); up = up.parent) {
    const name = nameOf(up);
    if (name !== undefined) names.push(name);
  }
  return names;
}

function isRow(node: ts.Expression): boolean {
  if (ts.isSpreadElement(node)) return true;
  // One of several conditions.
  if (nameOf(node.parent.parent) === 'when') return true;
  if (ts.isArrayLiteralExpression(node))
    return (
      node.elements[0] !== undefined && (ts.isStringLiteral(node.elements[0]) || ts.isNumericLiteral(node.elements[0]))
    );
  return ts.isObjectLiteralExpression(node) && node.properties.some((one) => nameOf(one) === 'call');
}

/** The rows of one file. */
export function rowsOf(root: string, file: string): Mutant[] {
  const path = join('src', 'policy', file);
  const text = readFileSync(join(root, path), 'utf8');
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: Mutant[] = [];
  const seen = new Map<string, number>();
  const add = (node: ts.Node, end: number, instead: string, verb: string): void => {
    const at = node.getStart(source);
    const names = namesAbove(node);
    const kind = names.map((name) => kindOfTable[name]).find((one) => one !== undefined) ?? '';
    const words = text.slice(at, node.end).replace(/\s+/g, ' ').slice(0, 110);
    const place = `${file} ${names.toReversed().join('.')}`;
    const twin = seen.get(place + words) ?? 0;
    seen.set(place + words, twin + 1);
    const id = createHash('sha256')
      .update(`${place}\0${text.slice(at, end).replace(/[\s,]+/g, '')}\0${instead}\0${twin}`)
      .digest('hex')
      .slice(0, 12);
    found.push({
      id,
      what: `${place}: ${verb} ${words}`,
      kind: kindOfFile[file] !== undefined && kind !== 'supervisorCapabilities' ? (kindOfFile[file] ?? '') : kind,
      file: path,
      at,
      text: text.slice(at, end),
      instead,
    });
  };
  /** With the comma behind it. */
  const endOf = (node: ts.Node): number => node.end + (/^\s*,/.exec(text.slice(node.end))?.[0].length ?? 0);
  const visit = (node: ts.Node): void => {
    if (ts.isArrayLiteralExpression(node)) {
      const names = namesAbove(node);
      const plain =
        names.some((name) => plainTables.has(name)) &&
        ['keptDescriptors', 'nodeFlags', 'roleFlags'].some((name) => names.includes(name));
      for (const element of node.elements) {
        // A row within a row (a name and a number) is the outer one's.
        if (isRow(element) || (plain && (ts.isNumericLiteral(element) || ts.isStringLiteral(element))))
          add(element, endOf(element), '', 'without');
      }
    }
    if (ts.isPropertyAssignment(node)) {
      const names = namesAbove(node);
      if (names.includes('strictFeatures') && ts.isStringLiteral(node.initializer)) {
        if (node.initializer.text === 'required')
          add(node.initializer, node.initializer.end, "'preferred'", `${node.name.getText(source)} no longer`);
        else add(node, endOf(node), '', 'without');
      }
      if (nameOf(node) === 'openFiles') add(node.initializer, node.initializer.end, '65_536', 'without the limit');
      if (nameOf(node) === 'secretMemory' || nameOf(node) === 'GLIBC_TUNABLES') add(node, endOf(node), '', 'without');
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** The rows of every policy. */
export function allRows(root: string): Mutant[] {
  return readdirSync(join(root, 'src', 'policy'))
    .sort()
    .flatMap((file) => rowsOf(root, file));
}
