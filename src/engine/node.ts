/**
 * The shapes of a parsed template, as `@huggingface/jinja` 0.5.11 makes them, and the one place that calls its parser.
 *
 * Trust:  the source is the model's: its size is bounded before a regular expression of the parser sees it.
 * Source: https://github.com/huggingface/huggingface.js/tree/main/packages/jinja
 * Proof:  test/unit/engine/template.test.ts
 * @module
 */
import { parse, tokenize } from '@huggingface/jinja';
import { KwyreError } from '../base/errors.ts';

type Operator = { readonly value: string };
type Name = { readonly type: 'Identifier'; readonly value: string };
type Call = { readonly type: 'CallExpression'; readonly callee: Node; readonly args: readonly Node[] };
type Body = readonly Statement[];

/** An expression. */
export type Node =
  | Name
  | Call
  | { readonly type: 'StringLiteral'; readonly value: string }
  | { readonly type: 'IntegerLiteral' | 'FloatLiteral'; readonly value: number }
  | { readonly type: 'ArrayLiteral' | 'TupleLiteral'; readonly value: readonly Node[] }
  | { readonly type: 'ObjectLiteral'; readonly value: ReadonlyMap<Node, Node> }
  | { readonly type: 'MemberExpression'; readonly object: Node; readonly property: Node; readonly computed: boolean }
  | { readonly type: 'FilterExpression'; readonly operand: Node; readonly filter: Node }
  | { readonly type: 'TestExpression'; readonly operand: Node; readonly test: Node; readonly negate: boolean }
  | { readonly type: 'UnaryExpression'; readonly operator: Operator; readonly argument: Node }
  | { readonly type: 'BinaryExpression'; readonly operator: Operator; readonly left: Node; readonly right: Node }
  | { readonly type: 'Ternary'; readonly condition: Node; readonly trueExpr: Node; readonly falseExpr: Node }
  | { readonly type: 'SelectExpression'; readonly lhs: Node; readonly test: Node }
  | { readonly type: 'SliceExpression'; readonly start: Node | undefined; readonly stop: Node | undefined; readonly step: Node | undefined }
  | { readonly type: 'KeywordArgumentExpression'; readonly key: Name; readonly value: Node }
  | { readonly type: 'SpreadExpression' | 'KeywordSpreadExpression'; readonly argument: Node }
  | { readonly type: 'For'; readonly loopvar: Node; readonly iterable: Node; readonly body: Body; readonly defaultBlock: Body };

/** What stands in a block; an expression there is printed. */
export type Statement =
  | Node
  | { readonly type: 'If'; readonly test: Node; readonly body: Body; readonly alternate: Body }
  | { readonly type: 'Set'; readonly assignee: Node; readonly value: Node | null; readonly body: Body }
  | { readonly type: 'Macro'; readonly name: Name; readonly args: readonly Node[]; readonly body: Body }
  | { readonly type: 'CallStatement'; readonly call: Call; readonly callerArgs: readonly Node[] | null; readonly body: Body }
  | { readonly type: 'FilterStatement'; readonly filter: Node; readonly body: Body }
  | { readonly type: 'Break' | 'Continue' | 'Comment' };

// The package's own declarations do not resolve under Node's rules, so its two functions are typed here.
const lex = tokenize as unknown as (source: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }) => unknown;
const read = parse as unknown as (tokens: unknown) => { readonly body: Body };

const maxSourceLength = 256 * 1024;
/** A regular expression of the parser is quadratic in a run of white space. */
const maxSpaces = 1024;

/**
 * Parses a template's source, with block trimming on, as model templates expect it.
 * @throws `TEMPLATE_INVALID`.
 */
export function parseSource(source: string): Body {
  if (source.length > maxSourceLength || new RegExp(`\\s{${maxSpaces}}`).test(source)) {
    throw new KwyreError('TEMPLATE_INVALID', "the model's chat template is too long", 'use another build of this model');
  }
  try {
    return read(lex(source, { lstrip_blocks: true, trim_blocks: true })).body;
  } catch (cause) {
    throw new KwyreError('TEMPLATE_INVALID', `the model's chat template cannot be read (${cause instanceof Error ? cause.name : 'error'})`, 'use another build of this model');
  }
}
