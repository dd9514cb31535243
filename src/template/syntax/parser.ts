/**
 * Parses a chat template: text, output, and the Jinja statements that a single-file template can use.
 *
 * Promise: parsing takes time linear in the source's length. Nesting is bounded, so neither parsing nor running
 *          overflows the stack.
 * Limits:  refuses statements that involve other templates (`include`, `import`, `extends`, `block`), recursive loops,
 *          `do` and `autoescape`.
 * Source:  https://github.com/pallets/jinja/blob/3.1.6/src/jinja2/parser.py, and the tag `generation` of transformers
 * Proof:   test/unit/template/parser.test.ts
 * @module
 */
import { parseExpression, parseFilter, parseTuple } from './expression-parser.ts';
import { invalid, tokenize } from './lexer.ts';
import type { Body, FilterCall, Macro, Expression, Parameter, Statement, Target } from './ast.ts';
import { TokenStream } from './token-stream.ts';

/** Parses up to a tag named in `ends`, whose name becomes the current token; to the end if `ends` is empty. */
function parseBody(tokens: TokenStream, ends: readonly string[]): Body {
  return tokens.nested(() => {
    const body: Statement[] = [];
    for (;;) {
      const { type, value } = tokens.next();
      if (type === 'end') {
        if (ends.length > 0) throw invalid('a block is not closed');
        return body;
      }
      if (type === 'data') body.push({ type: 'text', text: value });
      else if (type === 'print') {
        body.push({ type: 'output', value: parseTuple(tokens) });
        tokens.expect('print-end');
      } else {
        if (tokens.current.type === 'name' && ends.includes(tokens.current.value)) return body;
        body.push(parseStatement(tokens));
        tokens.expect('block-end');
      }
    }
  });
}

/** Parses the rest of an opening tag, the body, and the closing tag's name. @returns the body and that name */
function parseBlock(tokens: TokenStream, ends: readonly string[]): { readonly body: Body; readonly end: string } {
  tokens.skip('operator', ':');
  tokens.expect('block-end');
  const body = parseBody(tokens, ends);
  return { body, end: tokens.next().value };
}

/** Parses a body in which `break` and `continue` do not apply to the enclosing loop. */
const parseIsolatedBody = (tokens: TokenStream, end: string): Body =>
  tokens.loop(false, () => parseBlock(tokens, [end]).body);

function parseStatement(tokens: TokenStream): Statement {
  const { value } = tokens.expect('name');
  switch (value) {
    case 'if':
      return parseIf(tokens);
    case 'for':
      return parseFor(tokens);
    case 'set':
      return parseSet(tokens);
    case 'macro': {
      const name = tokens.expect('name').value;
      tokens.expect('operator', '(');
      return { type: 'macro', name, macro: parseMacro(tokens, parseParameters(tokens), 'endmacro') };
    }
    case 'call': {
      const parameters = tokens.skip('operator', '(') ? parseParameters(tokens) : [];
      const call = parseExpression(tokens);
      if (call.type !== 'call') throw invalid('a call block has no call');
      return { type: 'call-block', call, caller: parseMacro(tokens, parameters, 'endcall') };
    }
    case 'filter': {
      const filters = [parseFilter(tokens), ...parseFilterList(tokens)];
      return { type: 'filter-block', filters, body: parseIsolatedBody(tokens, 'endfilter') };
    }
    case 'with':
      return parseWith(tokens);
    case 'generation':
      return { type: 'scope', variables: [], body: parseIsolatedBody(tokens, 'endgeneration') };
    case 'break':
    case 'continue':
      if (!tokens.inLoop) throw invalid('break or continue is used outside a loop');
      return { type: value };
    default:
      throw invalid('a statement is not supported');
  }
}

function parseIf(tokens: TokenStream): Statement {
  const branches: (readonly [Expression, Body])[] = [];
  for (;;) {
    const test = parseTuple(tokens, { conditions: false });
    const { body, end } = parseBlock(tokens, ['elif', 'else', 'endif']);
    branches.push([test, body]);
    if (end === 'elif') continue;
    return { type: 'if', branches, otherwise: end === 'else' ? parseBlock(tokens, ['endif']).body : [] };
  }
}

function parseFor(tokens: TokenStream): Statement {
  const target = parseTarget(tokens, false);
  tokens.expect('name', 'in');
  const iterable = parseTuple(tokens, { conditions: false, until: 'recursive' });
  const test = tokens.skip('name', 'if') ? parseExpression(tokens) : undefined;
  if (tokens.is('name', 'recursive')) throw invalid('recursive loops are not supported');
  const { body, end } = tokens.loop(true, () => parseBlock(tokens, ['endfor', 'else']));
  return {
    type: 'for',
    target,
    iterable,
    test,
    body,
    otherwise: end === 'else' ? parseBlock(tokens, ['endfor']).body : [],
  };
}

function parseSet(tokens: TokenStream): Statement {
  const target = parseTarget(tokens, true);
  if (tokens.skip('operator', '=')) return { type: 'set', target, value: parseTuple(tokens) };
  return { type: 'set-block', target, filters: parseFilterList(tokens), body: parseIsolatedBody(tokens, 'endset') };
}

function parseWith(tokens: TokenStream): Statement {
  const variables: (readonly [Target, Expression])[] = [];
  while (tokens.current.type !== 'block-end') {
    if (variables.length > 0) tokens.expect('operator', ',');
    const name = parseTarget(tokens, false, true);
    tokens.expect('operator', '=');
    variables.push([name, parseExpression(tokens)]);
  }
  return { type: 'scope', variables, body: parseBlock(tokens, ['endwith']).body };
}

/** Parses `| filter | filter`. */
function parseFilterList(tokens: TokenStream): FilterCall[] {
  const filters: FilterCall[] = [];
  while (tokens.skip('operator', '|')) filters.push(parseFilter(tokens));
  return filters;
}

const reserved: ReadonlySet<string> = new Set(['true', 'false', 'none', 'True', 'False', 'None']);

function parseTargetName(tokens: TokenStream, fields: boolean): Target {
  if (tokens.skip('operator', '(')) {
    const inner = tokens.nested(() => parseTarget(tokens, fields));
    tokens.expect('operator', ')');
    return inner;
  }
  const name = tokens.expect('name').value;
  if (reserved.has(name)) throw invalid('it assigns to a constant');
  if (fields && tokens.skip('operator', '.')) return { type: 'field', name, field: tokens.expect('name').value };
  return { type: 'name', name };
}

/** Parses one assignment target, or several separated by commas. */
function parseTarget(tokens: TokenStream, fields: boolean, single = false): Target {
  const first = parseTargetName(tokens, fields);
  if (single || !tokens.is('operator', ',')) return first;
  const items = [first];
  while (tokens.skip('operator', ',')) {
    if (tokens.current.type !== 'name' && !tokens.is('operator', '(')) break;
    if (tokens.is('name', 'in')) break;
    items.push(parseTargetName(tokens, fields));
  }
  return { type: 'tuple', items };
}

/** Limit on a macro's parameters, because each call binds all of them. */
const maxParameters = 256;

function parseParameters(tokens: TokenStream): Parameter[] {
  const parameters: Parameter[] = [];
  while (!tokens.is('operator', ')')) {
    if (parameters.length > 0) tokens.expect('operator', ',');
    const name = tokens.expect('name').value;
    const fallback = tokens.skip('operator', '=') ? parseExpression(tokens) : undefined;
    if (fallback === undefined && parameters.at(-1)?.fallback !== undefined)
      throw invalid('a parameter without a default follows one with a default');
    if (parameters.length >= maxParameters) throw invalid('a macro has too many parameters');
    parameters.push({ name, fallback });
  }
  tokens.expect('operator', ')');
  return parameters;
}

function parseMacro(tokens: TokenStream, parameters: readonly Parameter[], end: string): Macro {
  const { result, reads } = tokens.macro(() => parseIsolatedBody(tokens, end));
  return { parameters, body: result, reads };
}

/**
 * Parses a template's source.
 * @throws `TEMPLATE_INVALID`
 */
export function parseSource(source: string): Body {
  return parseBody(new TokenStream(tokenize(source)), []);
}
