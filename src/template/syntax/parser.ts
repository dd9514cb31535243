/**
 * Parses a chat template: text, what is printed, and the statements that Jinja has for a template of one file.
 *
 * Promise: linear in the length of the source, and no deeper than the stack of the one who runs it allows.
 * Limits:  no other templates (`include`, `import`, `extends`, `block`), no recursive loops, no `do` and `autoescape`:
 *          refused.
 * Source:  https://github.com/pallets/jinja/blob/3.1.6/src/jinja2/parser.py, and the tag `generation` of transformers
 * Proof:   test/unit/template/parser.test.ts
 * @module
 */
import { parseExpression, parseFilter, parseTuple } from './expression-parser.ts';
import { invalid, tokenize } from './lexer.ts';
import type { Body, FilterNode, MacroNode, Node, Parameter, Statement, Target } from './ast.ts';
import { TokenStream } from './token-stream.ts';

/**
 * Reads statements up to a tag with one of these names, which becomes the current token; `end` is the end of the
 * source.
 */
function parseBody(tokens: TokenStream, ends: readonly string[]): Body {
  return tokens.within(() => {
    const body: Statement[] = [];
    for (;;) {
      const { type, value } = tokens.next();
      if (type === 'end') {
        if (ends.length > 0) throw invalid('a block does not end');
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

/** The body of a block: the rest of its tag, statements, and the name of the tag that ends it, which is gone over. */
function parseBlock(tokens: TokenStream, ends: readonly string[]): { readonly body: Body; readonly end: string } {
  tokens.skip('operator', ':');
  tokens.expect('block-end');
  const body = parseBody(tokens, ends);
  return { body, end: tokens.next().value };
}

/** A body of which the loop around it is no part. */
const apart = (tokens: TokenStream, end: string): Body => tokens.loop(false, () => parseBlock(tokens, [end]).body);

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
      if (call.type !== 'call') throw invalid('a call block calls nothing');
      return { type: 'call-block', call, caller: parseMacro(tokens, parameters, 'endcall') };
    }
    case 'filter': {
      const filters = [parseFilter(tokens), ...parseFilterList(tokens)];
      return { type: 'filter-block', filters, body: apart(tokens, 'endfilter') };
    }
    case 'with':
      return parseWith(tokens);
    case 'generation':
      return { type: 'scope', variables: [], body: apart(tokens, 'endgeneration') };
    case 'break':
    case 'continue':
      if (!tokens.inLoop) throw invalid('it leaves a loop where there is none');
      return { type: value };
    default:
      throw invalid('it has a statement that is not supported');
  }
}

function parseIf(tokens: TokenStream): Statement {
  const branches: (readonly [Node, Body])[] = [];
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
  if (tokens.is('name', 'recursive')) throw invalid('it has a recursive loop, which is not supported');
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
  return { type: 'set-block', target, filters: parseFilterList(tokens), body: apart(tokens, 'endset') };
}

function parseWith(tokens: TokenStream): Statement {
  const variables: (readonly [Target, Node])[] = [];
  while (tokens.current.type !== 'block-end') {
    if (variables.length > 0) tokens.expect('operator', ',');
    const name = parseTarget(tokens, false, true);
    tokens.expect('operator', '=');
    variables.push([name, parseExpression(tokens)]);
  }
  return { type: 'scope', variables, body: parseBlock(tokens, ['endwith']).body };
}

/** Filters behind a bar each. */
function parseFilterList(tokens: TokenStream): FilterNode[] {
  const filters: FilterNode[] = [];
  while (tokens.skip('operator', '|')) filters.push(parseFilter(tokens));
  return filters;
}

const reserved: ReadonlySet<string> = new Set(['true', 'false', 'none', 'True', 'False', 'None']);

function parseTargetName(tokens: TokenStream, fields: boolean): Target {
  if (tokens.skip('operator', '(')) {
    const inner = tokens.within(() => parseTarget(tokens, fields));
    tokens.expect('operator', ')');
    return inner;
  }
  const name = tokens.expect('name').value;
  if (reserved.has(name)) throw invalid('it assigns to a constant');
  if (fields && tokens.skip('operator', '.')) return { type: 'field', name, field: tokens.expect('name').value };
  return { type: 'name', name };
}

/** A name, or several with commas between them. */
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

/** Of one macro: each call binds all of them. */
const maxParameters = 256;

function parseParameters(tokens: TokenStream): Parameter[] {
  const parameters: Parameter[] = [];
  while (!tokens.is('operator', ')')) {
    if (parameters.length > 0) tokens.expect('operator', ',');
    const name = tokens.expect('name').value;
    const fallback = tokens.skip('operator', '=') ? parseExpression(tokens) : undefined;
    if (fallback === undefined && parameters.at(-1)?.fallback !== undefined)
      throw invalid('a parameter without a default follows one with it');
    if (parameters.length >= maxParameters) throw invalid('a macro has too many parameters');
    parameters.push({ name, fallback });
  }
  tokens.expect('operator', ')');
  return parameters;
}

function parseMacro(tokens: TokenStream, parameters: readonly Parameter[], end: string): MacroNode {
  const { result, reads } = tokens.macro(() => apart(tokens, end));
  return { parameters, body: result, reads };
}

/**
 * Parses a template's source.
 * @throws `TEMPLATE_INVALID`
 */
export function parseSource(source: string): Body {
  return parseBody(new TokenStream(tokenize(source)), []);
}
