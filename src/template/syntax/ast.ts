/**
 * The shapes of a parsed chat template.
 *
 * Source: https://jinja.palletsprojects.com/en/stable/templates/
 * Proof:  test/unit/template/parser.test.ts
 * @module
 */

/** Arguments of a call, a filter or a test. */
export type CallArguments = {
  readonly positional: readonly Node[];
  readonly named: readonly (readonly [name: string, value: Node])[];
  /** After `*` and `**`. */
  readonly list: Node | undefined;
  readonly dict: Node | undefined;
};

export type FilterNode = { readonly name: string; readonly args: CallArguments };

export type SliceNode = {
  readonly type: 'slice';
  readonly start: Node | undefined;
  readonly stop: Node | undefined;
  readonly step: Node | undefined;
};

/** An expression. */
export type Node =
  | { readonly type: 'literal'; readonly value: string | number | boolean | null }
  /** A number with a point or an exponent. */
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'list' | 'tuple'; readonly items: readonly Node[] }
  | { readonly type: 'dict'; readonly pairs: readonly (readonly [key: Node, value: Node])[] }
  | { readonly type: 'attribute'; readonly object: Node; readonly name: string }
  | { readonly type: 'item'; readonly object: Node; readonly index: Node | SliceNode }
  | { readonly type: 'call'; readonly callee: Node; readonly args: CallArguments }
  | { readonly type: 'filter'; readonly operand: Node; readonly filter: FilterNode }
  | { readonly type: 'test'; readonly operand: Node; readonly name: string; readonly args: CallArguments }
  | { readonly type: 'unary'; readonly operator: '-' | '+' | 'not'; readonly operand: Node }
  | { readonly type: 'binary'; readonly operator: string; readonly left: Node; readonly right: Node }
  /** `a < b <= c`: each operand is evaluated once, and the first comparison that fails ends it. */
  | {
      readonly type: 'compare';
      readonly first: Node;
      readonly rest: readonly (readonly [operator: string, operand: Node])[];
    }
  | { readonly type: 'concat'; readonly parts: readonly Node[] }
  | { readonly type: 'condition'; readonly test: Node; readonly yes: Node; readonly no: Node | undefined };

/** What can be assigned to. */
export type Target =
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'tuple'; readonly items: readonly Target[] }
  | { readonly type: 'field'; readonly name: string; readonly field: string };

export type Body = readonly Statement[];

export type Parameter = { readonly name: string; readonly fallback: Node | undefined };

/** A macro, or the body of a `call` block. */
export type MacroNode = {
  readonly parameters: readonly Parameter[];
  readonly body: Body;
  /** Which of `varargs`, `kwargs` and `caller` its body reads; without them it takes no such arguments. */
  readonly reads: ReadonlySet<string>;
};

/** What stands in a block. */
export type Statement =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'output'; readonly value: Node }
  | { readonly type: 'if'; readonly branches: readonly (readonly [test: Node, body: Body])[]; readonly otherwise: Body }
  | {
      readonly type: 'for';
      readonly target: Target;
      readonly iterable: Node;
      readonly test: Node | undefined;
      readonly body: Body;
      readonly otherwise: Body;
    }
  | { readonly type: 'set'; readonly target: Target; readonly value: Node }
  | {
      readonly type: 'set-block';
      readonly target: Target;
      readonly filters: readonly FilterNode[];
      readonly body: Body;
    }
  | { readonly type: 'macro'; readonly name: string; readonly macro: MacroNode }
  | { readonly type: 'call-block'; readonly call: Node; readonly caller: MacroNode }
  | { readonly type: 'filter-block'; readonly filters: readonly FilterNode[]; readonly body: Body }
  /** `with`, and the tag `generation` of transformers: a scope of its own. */
  | {
      readonly type: 'scope';
      readonly variables: readonly (readonly [target: Target, value: Node])[];
      readonly body: Body;
    }
  | { readonly type: 'break' | 'continue' };
