/**
 * Parses expressions of chat templates, with the precedences of Jinja, which are not quite Python's.
 *
 * Source: https://github.com/pallets/jinja/blob/3.1.6/src/jinja2/parser.py
 * Proof:  test/unit/template/parser.test.ts
 * @module
 */
import { invalid } from './lexer.ts';
import type { CallArguments, FilterNode, Node, SliceNode } from './ast.ts';
import type { TokenStream } from './token-stream.ts';

const constants: ReadonlyMap<string, boolean | null> = new Map<string, boolean | null>([
  ['true', true],
  ['True', true],
  ['false', false],
  ['False', false],
  ['none', null],
  ['None', null],
]);
const comparisons: ReadonlySet<string> = new Set(['==', '!=', '<', '>', '<=', '>=']);
const noArguments: CallArguments = { positional: [], named: [], list: undefined, dict: undefined };

/** `a, b`: a tuple, or the one expression when there is no comma. */
export function parseTuple(
  tokens: TokenStream,
  {
    conditions = true,
    until = '',
    empty = false,
  }: { readonly conditions?: boolean; readonly until?: string; readonly empty?: boolean } = {},
): Node {
  const items: Node[] = [];
  let isTuple = false;
  for (;;) {
    const { type, value } = tokens.current;
    if (
      type === 'block-end' ||
      type === 'print-end' ||
      (type === 'operator' && value === ')') ||
      (until !== '' && tokens.is('name', until))
    )
      break;
    items.push(conditions ? parseExpression(tokens) : parseOr(tokens));
    if (!tokens.skip('operator', ',')) break;
    isTuple = true;
  }
  const [only] = items;
  if (!isTuple && only !== undefined) return only;
  if (!isTuple && !empty) throw invalid('an expression is missing in a tag');
  return { type: 'tuple', items };
}

/** Any expression, a condition included. */
export function parseExpression(tokens: TokenStream): Node {
  return tokens.within(() => {
    let node = parseOr(tokens);
    while (tokens.skip('name', 'if')) {
      const test = parseOr(tokens);
      const no = tokens.skip('name', 'else') ? parseExpression(tokens) : undefined;
      node = { type: 'condition', test, yes: node, no };
    }
    return node;
  });
}

/** An expression without a condition at its top. */
export function parseOr(tokens: TokenStream): Node {
  let left = parseAnd(tokens);
  while (tokens.skip('name', 'or')) left = { type: 'binary', operator: 'or', left, right: parseAnd(tokens) };
  return left;
}

function parseAnd(tokens: TokenStream): Node {
  let left = parseNot(tokens);
  while (tokens.skip('name', 'and')) left = { type: 'binary', operator: 'and', left, right: parseNot(tokens) };
  return left;
}

function parseNot(tokens: TokenStream): Node {
  if (!tokens.skip('name', 'not')) return parseCompare(tokens);
  return { type: 'unary', operator: 'not', operand: tokens.within(() => parseNot(tokens)) };
}

function comparison(tokens: TokenStream): string | undefined {
  const { type, value } = tokens.current;
  if (type === 'operator' && comparisons.has(value)) return tokens.next().value;
  if (tokens.skip('name', 'in')) return 'in';
  if (!tokens.is('name', 'not') || tokens.following.value !== 'in' || tokens.following.type !== 'name')
    return undefined;
  tokens.next();
  tokens.next();
  return 'not in';
}

function parseCompare(tokens: TokenStream): Node {
  const first = parseSum(tokens);
  const rest: (readonly [string, Node])[] = [];
  for (let operator = comparison(tokens); operator !== undefined; operator = comparison(tokens))
    rest.push([operator, parseSum(tokens)]);
  return rest.length === 0 ? first : { type: 'compare', first, rest };
}

/** Operators of one level, which bind from the left. */
function parseLevel(tokens: TokenStream, operators: readonly string[], operand: (tokens: TokenStream) => Node): Node {
  let left = operand(tokens);
  while (tokens.current.type === 'operator' && operators.includes(tokens.current.value)) {
    const operator = tokens.next().value;
    left = { type: 'binary', operator, left, right: operand(tokens) };
  }
  return left;
}

const parseSum = (tokens: TokenStream): Node => parseLevel(tokens, ['+', '-'], parseConcat);
const parseProduct = (tokens: TokenStream): Node => parseLevel(tokens, ['*', '/', '//', '%'], parsePower);
const parsePower = (tokens: TokenStream): Node => parseLevel(tokens, ['**'], (inner) => parseUnary(inner, true));

function parseConcat(tokens: TokenStream): Node {
  const first = parseProduct(tokens);
  const parts = [first];
  while (tokens.skip('operator', '~')) parts.push(parseProduct(tokens));
  return parts.length === 1 ? first : { type: 'concat', parts };
}

function parseUnary(tokens: TokenStream, filters: boolean): Node {
  const operator = (['-', '+'] as const).find((sign) => tokens.skip('operator', sign));
  const operand: Node =
    operator === undefined
      ? parsePrimary(tokens)
      : { type: 'unary', operator, operand: tokens.within(() => parseUnary(tokens, false)) };
  const node = parsePostfix(tokens, operand);
  return filters ? parseFilters(tokens, node) : node;
}

function parsePrimary(tokens: TokenStream): Node {
  const { type, value, number } = tokens.next();
  switch (type) {
    case 'name': {
      const constant = constants.get(value);
      if (constant !== undefined) return { type: 'literal', value: constant };
      tokens.reads(value);
      return { type: 'name', name: value };
    }
    case 'string': {
      const parts = [value];
      while (tokens.current.type === 'string') parts.push(tokens.next().value);
      return { type: 'literal', value: parts.join('') };
    }
    case 'integer':
      if (!Number.isSafeInteger(number)) throw invalid('a number is too large');
      return { type: 'literal', value: number };
    case 'float':
      if (!Number.isFinite(number)) throw invalid('a number is too large');
      return { type: 'float', value: number };
    case 'operator':
      if (value === '(') {
        const inner = tokens.within(() => parseTuple(tokens, { empty: true }));
        tokens.expect('operator', ')');
        return inner;
      }
      if (value === '[') return { type: 'list', items: parseItems(tokens, ']', parseExpression) };
      if (value === '{') return { type: 'dict', pairs: parseItems(tokens, '}', parsePair) };
      break;
    default:
  }
  throw invalid('an expression is missing in a tag');
}

/** Items with commas between them, up to a bracket; one comma may stand behind the last. */
function parseItems<T>(tokens: TokenStream, end: string, item: (tokens: TokenStream) => T): T[] {
  const items: T[] = [];
  while (!tokens.is('operator', end)) {
    items.push(item(tokens));
    if (!tokens.skip('operator', ',')) break;
  }
  tokens.expect('operator', end);
  return items;
}

function parsePair(tokens: TokenStream): readonly [Node, Node] {
  const key = parseExpression(tokens);
  tokens.expect('operator', ':');
  return [key, parseExpression(tokens)];
}

function parsePostfix(tokens: TokenStream, start: Node): Node {
  let node = start;
  for (;;) {
    if (tokens.skip('operator', '.')) {
      const { type, value, number } = tokens.next();
      if (type === 'name') node = { type: 'attribute', object: node, name: value };
      else if (type === 'integer') node = { type: 'item', object: node, index: { type: 'literal', value: number } };
      else throw invalid('a name is missing behind a point');
    } else if (tokens.skip('operator', '[')) {
      const indices = parseItems(tokens, ']', parseIndex);
      const [index] = indices;
      if (index === undefined || indices.length > 1) throw invalid('an item is asked for in an unknown way');
      node = { type: 'item', object: node, index };
    } else if (tokens.skip('operator', '(')) node = { type: 'call', callee: node, args: parseArguments(tokens) };
    else return node;
  }
}

function parseIndex(tokens: TokenStream): Node | SliceNode {
  const start = tokens.is('operator', ':') ? undefined : parseExpression(tokens);
  if (start !== undefined && !tokens.is('operator', ':')) return start;
  const part = () => {
    if (!tokens.skip('operator', ':')) return undefined;
    return tokens.is('operator', ':') || tokens.is('operator', ']') || tokens.is('operator', ',')
      ? undefined
      : parseExpression(tokens);
  };
  const stop = part();
  return { type: 'slice', start, stop, step: part() };
}

/** Filters and tests behind an expression, in their order. */
function parseFilters(tokens: TokenStream, start: Node): Node {
  let node = start;
  for (;;) {
    if (tokens.skip('operator', '|')) node = { type: 'filter', operand: node, filter: parseFilter(tokens) };
    else if (tokens.skip('name', 'is')) node = parseTest(tokens, node);
    else if (tokens.skip('operator', '(')) node = { type: 'call', callee: node, args: parseArguments(tokens) };
    else return node;
  }
}

/** The name of a filter or a test; other programs put some under names with points. */
function dottedName(tokens: TokenStream): string {
  const parts = [tokens.expect('name').value];
  while (tokens.skip('operator', '.')) parts.push(tokens.expect('name').value);
  return parts.join('.');
}

/** A filter without what it is applied to. */
export function parseFilter(tokens: TokenStream): FilterNode {
  const name = dottedName(tokens);
  return { name, args: tokens.skip('operator', '(') ? parseArguments(tokens) : noArguments };
}

const ends: ReadonlySet<string> = new Set(['else', 'or', 'and']);

function parseTest(tokens: TokenStream, operand: Node): Node {
  const negated = tokens.skip('name', 'not');
  const name = dottedName(tokens);
  let args = noArguments;
  const { type, value } = tokens.current;
  if (tokens.skip('operator', '(')) args = parseArguments(tokens);
  else if (
    (type === 'name' && !ends.has(value)) ||
    type === 'string' ||
    type === 'integer' ||
    type === 'float' ||
    (type === 'operator' && (value === '[' || value === '{'))
  ) {
    if (value === 'is' && type === 'name') throw invalid('one test follows another');
    args = { ...noArguments, positional: [parsePostfix(tokens, parsePrimary(tokens))] };
  }
  const test: Node = { type: 'test', operand, name, args };
  return negated ? { type: 'unary', operator: 'not', operand: test } : test;
}

/** What stands between the brackets of a call. */
export function parseArguments(tokens: TokenStream): CallArguments {
  return tokens.within(() => {
    const positional: Node[] = [];
    const named: (readonly [string, Node])[] = [];
    const names = new Set<string>();
    let list: Node | undefined;
    let dict: Node | undefined;
    const must = (condition: boolean) => {
      if (!condition) throw invalid('the arguments of a call do not stand in their order');
    };
    while (!tokens.is('operator', ')')) {
      if (tokens.skip('operator', '*')) {
        must(list === undefined && dict === undefined);
        list = parseExpression(tokens);
      } else if (tokens.skip('operator', '**')) {
        must(dict === undefined);
        dict = parseExpression(tokens);
      } else if (
        tokens.current.type === 'name' &&
        tokens.following.type === 'operator' &&
        tokens.following.value === '='
      ) {
        must(dict === undefined);
        const name = tokens.next().value;
        tokens.next();
        must(!names.has(name));
        names.add(name);
        named.push([name, parseExpression(tokens)]);
      } else {
        must(list === undefined && dict === undefined && named.length === 0);
        positional.push(parseExpression(tokens));
      }
      if (!tokens.skip('operator', ',')) break;
    }
    tokens.expect('operator', ')');
    return { positional, named, list, dict };
  });
}
