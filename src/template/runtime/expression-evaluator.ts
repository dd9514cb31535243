/**
 * Evaluates the expressions of a chat template.
 *
 * Promise: an expression can read only variables, entries and items, and can use only the filters, tests and methods in
 *          closed tables.
 * Trust:   the template comes with the model and may be hostile. Steps and depth are bounded.
 * Source:  https://jinja.palletsprojects.com/en/stable/templates/#expressions
 * Proof:   test/unit/template/evaluator.test.ts
 * @module
 */
import { nestedTooDeep, unsupported } from './budget.ts';
import { applyFilter } from '../library/filters.ts';
import { methodOf } from '../library/methods.ts';
import type { CallArguments, Expression, FilterCall, Slice } from '../syntax/ast.ts';
import { applyBinary, applyComparison, applyUnary, sliceValue } from '../library/operators.ts';
import { print } from '../library/formatting.ts';
import { Rope } from './rope.ts';
import type { Scope } from './scope.ts';
import { applyTest } from '../library/jinja-tests.ts';
import { characterAt } from '../library/string-ops.ts';
import type { Arguments, Render, Value } from './value.ts';
import { Callable, Dict, Float, isDict, isText, isTruthy, iterate, List, lookup, toKey } from './value.ts';

const maxDepth = 400;

/** Jinja's globals that are not implemented. Any other unset name is undefined. */
const unsupportedGlobals: ReadonlySet<string> = new Set(['lipsum', 'cycler', 'joiner', 'self', 'super']);

export class ExpressionEvaluator {
  readonly #render: Render;
  #depth = 0;

  constructor(render: Render) {
    this.#render = render;
  }

  /** Enters an expression or a block. @throws `TEMPLATE_LIMIT` if it is nested too deeply */
  enter(): void {
    this.#render.budget.spend(1);
    if (++this.#depth > maxDepth) throw nestedTooDeep();
  }

  leave(): void {
    this.#depth -= 1;
  }

  /** Returns the value of an expression. */
  evaluate(node: Expression, scope: Scope): Value {
    this.enter();
    const value = this.#expression(node, scope);
    this.leave();
    return value;
  }

  /** Returns the value of a variable, or `undefined` if it is not set. */
  variable(name: string, scope: Scope): Value {
    this.#render.budget.spend(scope.depth >> 3);
    const value = scope.get(name);
    if (value === undefined && unsupportedGlobals.has(name)) throw unsupported('calls a global function of Jinja');
    return value;
  }

  /** Calls a function or macro. @param caller - the body of a `call` block */
  call(node: Expression, scope: Scope, caller?: Callable): Value {
    if (node.type !== 'call') throw unsupported('calls a value that is not callable');
    const callee = this.evaluate(node.callee, scope);
    if (!(callee instanceof Callable)) throw unsupported('calls a value that is not callable');
    const { positional, named } = this.#arguments(node.args, scope);
    this.#render.budget.spend(1 + positional.length + named.size);
    return callee.call({ positional, named: caller === undefined ? named : new Map([...named, ['caller', caller]]) });
  }

  /** Applies filters from left to right. */
  filter(value: Value, filters: readonly FilterCall[], scope: Scope): Value {
    return filters.reduce(
      (result, { name, args }) => applyFilter(name, result, this.#arguments(args, scope), this.#render),
      value,
    );
  }

  #arguments({ positional, named, list, dict }: CallArguments, scope: Scope): Arguments {
    const values = positional.map((node) => this.evaluate(node, scope));
    const names = new Map(named.map(([name, value]) => [name, this.evaluate(value, scope)]));
    if (list !== undefined) {
      for (const item of iterate(this.evaluate(list, scope), this.#render)) values.push(item);
    }
    if (dict !== undefined) {
      const more = this.evaluate(dict, scope);
      if (!isDict(more)) throw unsupported('unpacks a value that is not a dict');
      this.#render.budget.spend(more.entries.size);
      for (const [key, value] of more.entries) {
        if (typeof key !== 'string' || names.has(key)) throw unsupported('passes unexpected arguments');
        names.set(key, value);
      }
    }
    return { positional: values, named: names };
  }

  #expression(node: Expression, scope: Scope): Value {
    const render = this.#render;
    switch (node.type) {
      case 'literal':
        return node.value;
      case 'float':
        render.budget.retain(1);
        return new Float(node.value);
      case 'name':
        return this.variable(node.name, scope);
      case 'list':
      case 'tuple':
        render.budget.retain(2 + (node.items.length >> 3));
        return new List(
          node.items.map((item) => this.evaluate(item, scope)),
          node.type,
        );
      case 'dict':
        render.budget.retain(4 + node.pairs.length);
        return new Dict(
          node.pairs.map(([key, value]) => [toKey(this.evaluate(key, scope)), this.evaluate(value, scope)] as const),
        );
      case 'attribute':
        return this.#attribute(this.evaluate(node.object, scope), node.name);
      case 'item':
        return this.#item(this.evaluate(node.object, scope), node.index, scope);
      case 'call':
        return this.call(node, scope);
      case 'filter':
        return this.filter(this.evaluate(node.operand, scope), [node.filter], scope);
      case 'test':
        return applyTest(node.name, this.evaluate(node.operand, scope), this.#arguments(node.args, scope), render);
      case 'unary':
        return applyUnary(node.operator, this.evaluate(node.operand, scope));
      case 'binary': {
        const left = this.evaluate(node.left, scope);
        if (node.operator === 'and') return isTruthy(left) ? this.evaluate(node.right, scope) : left;
        if (node.operator === 'or') return isTruthy(left) ? left : this.evaluate(node.right, scope);
        return applyBinary(node.operator, left, this.evaluate(node.right, scope), render);
      }
      case 'compare': {
        let left = this.evaluate(node.first, scope);
        for (const [operator, operand] of node.rest) {
          const right = this.evaluate(operand, scope);
          if (!applyComparison(operator, left, right, render)) return false;
          left = right;
        }
        return true;
      }
      case 'concat':
        return Rope.concat(
          node.parts.map((part) => print(this.evaluate(part, scope), render)),
          render.budget,
        );
      default:
        if (isTruthy(this.evaluate(node.test, scope))) return this.evaluate(node.yes, scope);
        return node.no === undefined ? undefined : this.evaluate(node.no, scope);
    }
  }

  /** Evaluates `object.name`. A method takes precedence over an entry of the same name. */
  #attribute(object: Value, name: string): Value {
    if (object === undefined) throw unsupported('reads an attribute of an undefined value');
    const method = methodOf(object, name, this.#render);
    return method ?? (object instanceof Dict ? object.entries.get(name) : undefined);
  }

  /** Evaluates `object[index]`. An entry takes precedence over a method of the same name. */
  #item(object: Value, index: Expression | Slice, scope: Scope): Value {
    if (index.type === 'slice') return this.#slice(object, index, scope);
    const key = this.evaluate(index, scope);
    if (object === undefined) throw unsupported('reads an item of an undefined value');
    if (object instanceof Dict) {
      const { found, value } = lookup(object, key, this.#render);
      if (found) return value;
    }
    const at = typeof key === 'boolean' ? Number(key) : key;
    if (typeof at === 'number') {
      if (isText(object)) return characterAt(object, at, this.#render.budget);
      return object instanceof List && object.kind !== 'view' && object.kind !== 'generator'
        ? object.items.at(at)
        : undefined;
    }
    return typeof key === 'string' ? methodOf(object, key, this.#render) : undefined;
  }

  #slice(object: Value, node: Slice, scope: Scope): Value {
    const [start, stop, step] = [node.start, node.stop, node.step].map((part) => {
      const value = part === undefined ? undefined : this.evaluate(part, scope);
      if (value !== undefined && value !== null && typeof value !== 'number')
        throw unsupported('slices with an index that is not an integer');
      return value ?? undefined;
    });
    return sliceValue(object, start, stop, step, this.#render);
  }
}
