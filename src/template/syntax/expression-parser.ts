/**
 * Parses the expressions of chat templates with Jinja's operator precedence, which differs from Python's.
 *
 * Source: https://github.com/pallets/jinja/blob/3.1.6/src/jinja2/parser.py
 * Proof:  test/unit/template/parser.test.ts
 * @module
 */
import { invalid } from './lexer.ts';
import type { CallArguments, FilterCall, Expression, Slice } from './ast.ts';
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

/** Parses `a, b` as a tuple, or a single expression if there is no comma. */
export function parseTuple(
  tokens: TokenStream,
  {
    conditions = true,
    until = '',
    empty = false,
  }: { readonly conditions?: boolean; readonly until?: string; readonly empty?: boolean } = {},
): Expression {
  const items: Expression[] = [];
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
  if (!isTuple && !empty) throw invalid('an expression is missing');
  return { type: 'tuple', items };
}

/** Parses an expression, including `a if b else c`. */
export function parseExpression(tokens: TokenStream): Expression {
  return tokens.nested(() => {
    let node = parseOr(tokens);
    while (tokens.skip('name', 'if')) {
      const test = parseOr(tokens);
      node = {
        type: 'condition',
        test,
        yes: node,
        no: tokens.skip('name', 'else') ? parseExpression(tokens) : undefined,
      };
    }
    return node;
  });
}

/** Parses an expression without a conditional at the top level. */
function parseOr(tokens: TokenStream): Expression {
  let left = parseAnd(tokens);
  while (tokens.skip('name', 'or')) left = { type: 'binary', operator: 'or', left, right: parseAnd(tokens) };
  return left;
}

function parseAnd(tokens: TokenStream): Expression {
  let left = parseNot(tokens);
  while (tokens.skip('name', 'and')) left = { type: 'binary', operator: 'and', left, right: parseNot(tokens) };
  return left;
}

function parseNot(tokens: TokenStream): Expression {
  if (!tokens.skip('name', 'not')) return parseCompare(tokens);
  return { type: 'unary', operator: 'not', operand: tokens.nested(() => parseNot(tokens)) };
}

function comparison(tokens: TokenStream): string | undefined {
  const { type, value } = tokens.current;
  if (type === 'operator' && comparisons.has(value)) return tokens.next().value;
  if (tokens.skip('name', 'in')) return 'in';
  if (!tokens.is('name', 'not') || tokens.lookahead.value !== 'in' || tokens.lookahead.type !== 'name')
    return undefined;
  tokens.next();
  tokens.next();
  return 'not in';
}

function parseCompare(tokens: TokenStream): Expression {
  const first = parseSum(tokens);
  const rest: (readonly [string, Expression])[] = [];
  for (let operator = comparison(tokens); operator !== undefined; operator = comparison(tokens))
    rest.push([operator, parseSum(tokens)]);
  return rest.length === 0 ? first : { type: 'compare', first, rest };
}

/** Parses left-associative operators of one precedence level. */
function parseLevel(
  tokens: TokenStream,
  operators: readonly string[],
  operand: (tokens: TokenStream) => Expression,
): Expression {
  let left = operand(tokens);
  while (tokens.current.type === 'operator' && operators.includes(tokens.current.value)) {
    const operator = tokens.next().value;
    left = { type: 'binary', operator, left, right: operand(tokens) };
  }
  return left;
}

const parseSum = (tokens: TokenStream): Expression => parseLevel(tokens, ['+', '-'], parseConcat);
const parseProduct = (tokens: TokenStream): Expression => parseLevel(tokens, ['*', '/', '//', '%'], parsePower);
const parsePower = (tokens: TokenStream): Expression => parseLevel(tokens, ['**'], (inner) => parseUnary(inner, true));

function parseConcat(tokens: TokenStream): Expression {
  const first = parseProduct(tokens);
  const parts = [first];
  while (tokens.skip('operator', '~')) parts.push(parseProduct(tokens));
  return parts.length === 1 ? first : { type: 'concat', parts };
}

function parseUnary(tokens: TokenStream, filters: boolean): Expression {
  const operator = (['-', '+'] as const).find((sign) => tokens.skip('operator', sign));
  const operand: Expression =
    operator === undefined
      ? parsePrimary(tokens)
      : { type: 'unary', operator, operand: tokens.nested(() => parseUnary(tokens, false)) };
  const node = parsePostfix(tokens, operand);
  return filters ? parseFilters(tokens, node) : node;
}

function parsePrimary(tokens: TokenStream): Expression {
  const { type, value, number } = tokens.next();
  switch (type) {
    case 'name': {
      const constant = constants.get(value);
      if (constant !== undefined) return { type: 'literal', value: constant };
      tokens.noteRead(value);
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
        const inner = tokens.nested(() => parseTuple(tokens, { empty: true }));
        tokens.expect('operator', ')');
        return inner;
      }
      if (value === '[') return { type: 'list', items: tokens.list(']', () => parseExpression(tokens)) };
      if (value === '{') return { type: 'dict', pairs: tokens.list('}', () => parsePair(tokens)) };
      break;
    default:
  }
  throw invalid('an expression is missing');
}

function parsePair(tokens: TokenStream): readonly [Expression, Expression] {
  const key = parseExpression(tokens);
  tokens.expect('operator', ':');
  return [key, parseExpression(tokens)];
}

function parsePostfix(tokens: TokenStream, start: Expression): Expression {
  let node = start;
  for (;;) {
    if (tokens.skip('operator', '.')) {
      const { type, value, number } = tokens.next();
      if (type === 'name') node = { type: 'attribute', object: node, name: value };
      else if (type === 'integer') node = { type: 'item', object: node, index: { type: 'literal', value: number } };
      else throw invalid('a name is missing after a dot');
    } else if (tokens.skip('operator', '[')) {
      const indices = tokens.list(']', () => parseIndex(tokens));
      const [index] = indices;
      if (index === undefined || indices.length > 1) throw invalid('an index is empty or has several parts');
      node = { type: 'item', object: node, index };
    } else if (tokens.skip('operator', '(')) node = { type: 'call', callee: node, args: parseArguments(tokens) };
    else return node;
  }
}

function parseIndex(tokens: TokenStream): Expression | Slice {
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

/** Parses the filters, tests and calls after an expression. */
function parseFilters(tokens: TokenStream, start: Expression): Expression {
  let node = start;
  for (;;) {
    if (tokens.skip('operator', '|')) node = { type: 'filter', operand: node, filter: parseFilter(tokens) };
    else if (tokens.skip('name', 'is')) node = parseTest(tokens, node);
    else if (tokens.skip('operator', '(')) node = { type: 'call', callee: node, args: parseArguments(tokens) };
    else return node;
  }
}

/** Parses the name of a filter or test, which may contain dots. */
function dottedName(tokens: TokenStream): string {
  const parts = [tokens.expect('name').value];
  while (tokens.skip('operator', '.')) parts.push(tokens.expect('name').value);
  return parts.join('.');
}

/** Parses a filter name and its arguments. */
export function parseFilter(tokens: TokenStream): FilterCall {
  const name = dottedName(tokens);
  return { name, args: tokens.skip('operator', '(') ? parseArguments(tokens) : noArguments };
}

/** The keywords that end a test without parentheses, and the literals that such a test may have as its argument. */
const keywords: ReadonlySet<string> = new Set(['else', 'or', 'and']);
const literalTypes: ReadonlySet<string> = new Set(['string', 'integer', 'float']);

function parseTest(tokens: TokenStream, operand: Expression): Expression {
  const negated = tokens.skip('name', 'not');
  const name = dottedName(tokens);
  let args = noArguments;
  const { type, value } = tokens.current;
  if (tokens.skip('operator', '(')) args = parseArguments(tokens);
  else if (
    (type === 'name' && !keywords.has(value)) ||
    literalTypes.has(type) ||
    (type === 'operator' && (value === '[' || value === '{'))
  ) {
    if (value === 'is' && type === 'name') throw invalid('tests are chained');
    args = { ...noArguments, positional: [parsePostfix(tokens, parsePrimary(tokens))] };
  }
  const test: Expression = { type: 'test', operand, name, args };
  return negated ? { type: 'unary', operator: 'not', operand: test } : test;
}

/** Parses the arguments of a call up to the closing parenthesis. */
function parseArguments(tokens: TokenStream): CallArguments {
  return tokens.nested(() => {
    const positional: Expression[] = [];
    const named: (readonly [string, Expression])[] = [];
    const names = new Set<string>();
    let list: Expression | undefined;
    let dict: Expression | undefined;
    const expectOrder = (condition: boolean) => {
      if (!condition) throw invalid('the arguments of a call are out of order');
    };
    while (!tokens.is('operator', ')')) {
      if (tokens.skip('operator', '*')) {
        expectOrder(list === undefined && dict === undefined);
        list = parseExpression(tokens);
      } else if (tokens.skip('operator', '**')) {
        expectOrder(dict === undefined);
        dict = parseExpression(tokens);
      } else if (
        tokens.current.type === 'name' &&
        tokens.lookahead.type === 'operator' &&
        tokens.lookahead.value === '='
      ) {
        expectOrder(dict === undefined);
        const name = tokens.next().value;
        tokens.next();
        expectOrder(!names.has(name));
        names.add(name);
        named.push([name, parseExpression(tokens)]);
      } else {
        expectOrder(list === undefined && dict === undefined && named.length === 0);
        positional.push(parseExpression(tokens));
      }
      if (!tokens.skip('operator', ',')) break;
    }
    tokens.expect('operator', ')');
    return { positional, named, list, dict };
  });
}
