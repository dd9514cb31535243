/**
 * The syntax tree of a parsed chat template.
 *
 * Source: https://jinja.palletsprojects.com/en/stable/templates/
 * Proof:  test/unit/template/parser.test.ts
 * @module
 */

/** The arguments of a call, a filter or a test. */
export type CallArguments = {
  readonly positional: readonly Expression[];
  readonly named: readonly (readonly [name: string, value: Expression])[];
  /** The operands of `*` and `**`. */
  readonly list: Expression | undefined;
  readonly dict: Expression | undefined;
};

export type FilterCall = { readonly name: string; readonly args: CallArguments };

export type Slice = {
  readonly type: 'slice';
  readonly start: Expression | undefined;
  readonly stop: Expression | undefined;
  readonly step: Expression | undefined;
};

/** An expression. */
export type Expression =
  | { readonly type: 'literal'; readonly value: string | number | boolean | null }
  /** A number with a decimal point or an exponent. */
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'list' | 'tuple'; readonly items: readonly Expression[] }
  | { readonly type: 'dict'; readonly pairs: readonly (readonly [key: Expression, value: Expression])[] }
  | { readonly type: 'attribute'; readonly object: Expression; readonly name: string }
  | { readonly type: 'item'; readonly object: Expression; readonly index: Expression | Slice }
  | { readonly type: 'call'; readonly callee: Expression; readonly args: CallArguments }
  | { readonly type: 'filter'; readonly operand: Expression; readonly filter: FilterCall }
  | { readonly type: 'test'; readonly operand: Expression; readonly name: string; readonly args: CallArguments }
  | { readonly type: 'unary'; readonly operator: '-' | '+' | 'not'; readonly operand: Expression }
  | { readonly type: 'binary'; readonly operator: string; readonly left: Expression; readonly right: Expression }
  /** `a < b <= c`. Each operand is evaluated at most once, and the first false comparison ends the chain. */
  | {
      readonly type: 'compare';
      readonly first: Expression;
      readonly rest: readonly (readonly [operator: string, operand: Expression])[];
    }
  | { readonly type: 'concat'; readonly parts: readonly Expression[] }
  | {
      readonly type: 'condition';
      readonly test: Expression;
      readonly yes: Expression;
      readonly no: Expression | undefined;
    };

/** The target of an assignment. */
export type Target =
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'tuple'; readonly items: readonly Target[] }
  | { readonly type: 'field'; readonly name: string; readonly field: string };

export type Body = readonly Statement[];

export type Parameter = { readonly name: string; readonly fallback: Expression | undefined };

/** A macro, or the body of a `call` block. */
export type Macro = {
  readonly parameters: readonly Parameter[];
  readonly body: Body;
  /** Which of `varargs`, `kwargs` and `caller` the body reads. Arguments for the others are refused. */
  readonly reads: ReadonlySet<string>;
};

/** A statement of a block. */
export type Statement =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'output'; readonly value: Expression }
  | {
      readonly type: 'if';
      readonly branches: readonly (readonly [test: Expression, body: Body])[];
      readonly otherwise: Body;
    }
  | {
      readonly type: 'for';
      readonly target: Target;
      readonly iterable: Expression;
      readonly test: Expression | undefined;
      readonly body: Body;
      readonly otherwise: Body;
    }
  | { readonly type: 'set'; readonly target: Target; readonly value: Expression }
  | {
      readonly type: 'set-block';
      readonly target: Target;
      readonly filters: readonly FilterCall[];
      readonly body: Body;
    }
  | { readonly type: 'macro'; readonly name: string; readonly macro: Macro }
  | { readonly type: 'call-block'; readonly call: Expression; readonly caller: Macro }
  | { readonly type: 'filter-block'; readonly filters: readonly FilterCall[]; readonly body: Body }
  /** `with`, and the tag `generation` from transformers. Both open a nested scope. */
  | {
      readonly type: 'scope';
      readonly variables: readonly (readonly [target: Target, value: Expression])[];
      readonly body: Body;
    }
  | { readonly type: 'break' | 'continue' };
