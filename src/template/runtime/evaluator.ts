/**
 * Runs a parsed chat template over values of ours, bounded in steps, time, size and depth.
 *
 * Promise: what runs here knows no value but those of value.ts, makes no code from strings, and stops with
 *          `TEMPLATE_LIMIT` long before a stall is felt.
 * Trust:   the template comes with the model and may be hostile; conversation text is slices that stay slices
 *          (rope.ts).
 * Limits:  scopes are Jinja's: what a loop's body sets ends with its round, and macros see where they were defined.
 * Source:  https://jinja.palletsprojects.com/en/stable/templates/
 * Proof:   test/unit/template/evaluator.test.ts, test/unit/template/template.test.ts
 * @module
 */
import { TemplateError, unsupported } from './budget.ts';
import { applyFilter } from '../library/filters.ts';
import { methodOf } from '../library/methods.ts';
import type { Body, CallArguments, FilterNode, MacroNode, Node, SliceNode, Statement, Target } from '../syntax/ast.ts';
import { combine, compare, cut, negate } from '../library/operators.ts';
import { print } from '../library/formatting.ts';
import type { Str } from './rope.ts';
import { Rope } from './rope.ts';
import { loopOf, Scope } from './scope.ts';
import { applyTest } from '../library/tests.ts';
import { characterAt } from '../library/string-ops.ts';
import type { Arguments, Render, Value } from './value.ts';
import { Callable, Dict, Float, isDict, isText, iterate, keyOf, List, lookUp, truth } from './value.ts';

const maxDepth = 400;

/** What Jinja has besides and we have not; any other name that is not set is undefined. */
const otherGlobals: ReadonlySet<string> = new Set(['lipsum', 'cycler', 'joiner', 'self', 'super']);

/** How a block ended: `break` and `continue` leave the loop around it. */
type Exit = 'end' | 'break' | 'continue';

/** One run of one template. */
export class Evaluator {
  readonly #render: Render;
  #depth = 0;

  constructor(render: Render) {
    this.#render = render;
  }

  /** Runs a block and returns what it printed. */
  run(body: Body, scope: Scope): Str {
    const out: Str[] = [];
    this.#block(body, scope, out);
    return Rope.concat(out, this.#render.budget);
  }

  #enter(): void {
    this.#render.budget.spend(1);
    if (++this.#depth > maxDepth)
      throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template is nested too deep");
  }

  #block(body: Body, scope: Scope, out: Str[]): Exit {
    this.#enter();
    let exit: Exit = 'end';
    for (const statement of body) {
      exit = this.#statement(statement, scope, out);
      if (exit !== 'end') break;
    }
    this.#depth -= 1;
    return exit;
  }

  #statement(node: Statement, scope: Scope, out: Str[]): Exit {
    this.#render.budget.spend(1);
    switch (node.type) {
      case 'text':
        out.push(node.text);
        return 'end';
      case 'output':
        out.push(print(this.evaluate(node.value, scope), this.#render));
        return 'end';
      case 'if': {
        for (const [test, body] of node.branches)
          if (truth(this.evaluate(test, scope))) return this.#block(body, scope, out);
        return this.#block(node.otherwise, scope, out);
      }
      case 'for':
        return this.#loop(node, scope, out);
      case 'set':
        this.#assign(node.target, this.evaluate(node.value, scope), scope);
        return 'end';
      case 'set-block':
        this.#assign(node.target, this.#filters(this.run(node.body, new Scope(scope)), node.filters, scope), scope);
        return 'end';
      case 'macro':
        scope.set(node.name, this.#macro(node.macro, scope));
        return 'end';
      case 'call-block':
        out.push(print(this.#call(node.call, scope, this.#macro(node.caller, scope)), this.#render));
        return 'end';
      case 'filter-block':
        out.push(print(this.#filters(this.run(node.body, new Scope(scope)), node.filters, scope), this.#render));
        return 'end';
      case 'scope': {
        const inner = new Scope(scope);
        // The values do not see one another.
        const values = node.variables.map(([, value]) => this.evaluate(value, scope));
        node.variables.forEach(([target], i) => {
          this.#assign(target, values[i], inner);
        });
        return this.#block(node.body, inner, out);
      }
      default:
        return node.type;
    }
  }

  #loop(node: Extract<Statement, { type: 'for' }>, scope: Scope, out: Str[]): Exit {
    const source = iterate(this.evaluate(node.iterable, scope), this.#render);
    const { test } = node;
    const items =
      test === undefined
        ? [...source]
        : source.filter((item) => {
            const inner = new Scope(scope);
            this.#assign(node.target, item, inner);
            return truth(this.evaluate(test, inner));
          });
    const { length } = items;
    // Jinja's `else` is for a loop of which no round came to its end.
    let whole = false;
    for (let i = 0; i < length; i += 1) {
      const inner = new Scope(scope, () => loopOf(items, i, this.#render));
      this.#assign(node.target, items[i], inner);
      const exit = this.#block(node.body, inner, out);
      if (exit === 'break') break;
      whole ||= exit === 'end';
    }
    // A break or continue in the `else` part belongs to the loop around this one.
    return whole ? 'end' : this.#block(node.otherwise, new Scope(scope), out);
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    this.#render.budget.spend(1);
    if (target.type === 'name') {
      scope.set(target.name, value);
      return;
    }
    if (target.type === 'tuple') {
      const items = iterate(value, this.#render);
      if (value === undefined || items.length !== target.items.length)
        throw unsupported('unpacks another number of values than there are');
      target.items.forEach((part, i) => {
        this.#assign(part, items[i], scope);
      });
      return;
    }
    const object = this.#variable(target.name, scope);
    if (!(object instanceof Dict) || object.kind !== 'namespace')
      throw unsupported('assigns to something that is no variable');
    this.#render.budget.hold(1);
    object.entries.set(target.field, value);
  }

  #macro({ parameters, body, reads }: MacroNode, defined: Scope): Callable {
    // A macro keeps the scope that it was defined in.
    this.#render.budget.hold(8);
    return new Callable(({ positional, named }) => {
      this.#render.budget.hold(8 + parameters.length + positional.length + 2 * named.size);
      const scope = new Scope(defined);
      const rest = new Map(named);
      const caller = rest.get('caller');
      if (rest.has('caller') && !parameters.some(({ name }) => name === 'caller')) {
        if (!reads.has('caller')) throw unsupported('passes arguments that a macro does not take');
        rest.delete('caller');
      }
      parameters.forEach(({ name, fallback }, i) => {
        const isNamed = rest.has(name);
        if (isNamed && i < positional.length) throw unsupported('passes arguments that a macro does not take');
        if (i < positional.length) scope.set(name, positional[i]);
        else if (isNamed) scope.set(name, rest.get(name));
        else scope.set(name, fallback === undefined ? undefined : this.evaluate(fallback, scope));
        rest.delete(name);
      });
      const more = positional.slice(parameters.length);
      if ((more.length > 0 && !reads.has('varargs')) || (rest.size > 0 && !reads.has('kwargs')))
        throw unsupported('passes arguments that a macro does not take');
      if (reads.has('varargs')) scope.set('varargs', new List(more, 'tuple'));
      if (reads.has('kwargs')) scope.set('kwargs', new Dict(rest));
      if (reads.has('caller')) scope.set('caller', caller);
      return this.run(body, scope);
    });
  }

  #arguments({ positional, named, list, dict }: CallArguments, scope: Scope): Arguments {
    const values = positional.map((node) => this.evaluate(node, scope));
    const names = new Map(named.map(([name, value]) => [name, this.evaluate(value, scope)]));
    if (list !== undefined) {
      for (const item of iterate(this.evaluate(list, scope), this.#render)) values.push(item);
    }
    if (dict !== undefined) {
      const more = this.evaluate(dict, scope);
      if (!isDict(more)) throw unsupported('spreads something that is no dict');
      this.#render.budget.spend(more.entries.size);
      for (const [key, value] of more.entries) {
        if (typeof key !== 'string' || names.has(key)) throw unsupported('passes arguments in an unknown way');
        names.set(key, value);
      }
    }
    return { positional: values, named: names };
  }

  #call(node: Node, scope: Scope, caller?: Callable): Value {
    if (node.type !== 'call') throw unsupported('calls something that is no function');
    const callee = this.evaluate(node.callee, scope);
    if (!(callee instanceof Callable)) throw unsupported('calls something that is no function');
    const { positional, named } = this.#arguments(node.args, scope);
    this.#render.budget.spend(1 + positional.length + named.size);
    return callee.call({ positional, named: caller === undefined ? named : new Map([...named, ['caller', caller]]) });
  }

  #filters(value: Value, filters: readonly FilterNode[], scope: Scope): Value {
    return filters.reduce(
      (result, { name, args }) => applyFilter(name, result, this.#arguments(args, scope), this.#render),
      value,
    );
  }

  /** The value of an expression. */
  evaluate(node: Node, scope: Scope): Value {
    this.#enter();
    const value = this.#expression(node, scope);
    this.#depth -= 1;
    return value;
  }

  #expression(node: Node, scope: Scope): Value {
    const render = this.#render;
    switch (node.type) {
      case 'literal':
        return node.value;
      case 'float':
        render.budget.hold(1);
        return new Float(node.value);
      case 'name':
        return this.#variable(node.name, scope);
      case 'list':
      case 'tuple':
        render.budget.hold(2 + (node.items.length >> 3));
        return new List(
          node.items.map((item) => this.evaluate(item, scope)),
          node.type,
        );
      case 'dict':
        render.budget.hold(4 + node.pairs.length);
        return new Dict(
          node.pairs.map(([key, value]) => [keyOf(this.evaluate(key, scope)), this.evaluate(value, scope)] as const),
        );
      case 'attribute':
        return this.#attribute(this.evaluate(node.object, scope), node.name);
      case 'item':
        return this.#item(this.evaluate(node.object, scope), node.index, scope);
      case 'call':
        return this.#call(node, scope);
      case 'filter':
        return applyFilter(
          node.filter.name,
          this.evaluate(node.operand, scope),
          this.#arguments(node.filter.args, scope),
          render,
        );
      case 'test':
        return applyTest(node.name, this.evaluate(node.operand, scope), this.#arguments(node.args, scope), render);
      case 'unary':
        return negate(node.operator, this.evaluate(node.operand, scope));
      case 'binary': {
        const left = this.evaluate(node.left, scope);
        if (node.operator === 'and') return truth(left) ? this.evaluate(node.right, scope) : left;
        if (node.operator === 'or') return truth(left) ? left : this.evaluate(node.right, scope);
        return combine(node.operator, left, this.evaluate(node.right, scope), render);
      }
      case 'compare': {
        let left = this.evaluate(node.first, scope);
        for (const [operator, operand] of node.rest) {
          const right = this.evaluate(operand, scope);
          if (!compare(operator, left, right, render)) return false;
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
        if (truth(this.evaluate(node.test, scope))) return this.evaluate(node.yes, scope);
        return node.no === undefined ? undefined : this.evaluate(node.no, scope);
    }
  }

  #variable(name: string, scope: Scope): Value {
    this.#render.budget.spend(scope.depth >> 3);
    const value = scope.get(name);
    if (value === undefined && otherGlobals.has(name)) throw unsupported('uses a function that is not known');
    return value;
  }

  /** `object.name`: a method before an entry of the same name. */
  #attribute(object: Value, name: string): Value {
    if (object === undefined) throw unsupported('asks something that is not defined for an attribute');
    const method = methodOf(object, name, this.#render);
    return method ?? (object instanceof Dict ? object.entries.get(name) : undefined);
  }

  /** `object[index]`: an entry before a method of the same name. */
  #item(object: Value, index: Node | SliceNode, scope: Scope): Value {
    if (index.type === 'slice') return this.#slice(object, index, scope);
    const key = this.evaluate(index, scope);
    if (object === undefined) throw unsupported('asks something that is not defined for an item');
    if (object instanceof Dict) {
      const { found, value } = lookUp(object, key, this.#render);
      if (found) return value;
    }
    const at = typeof key === 'boolean' ? Number(key) : key;
    if (typeof at === 'number') {
      if (isText(object)) return characterAt(object, at, this.#render.budget);
      return object instanceof List && object.kind !== 'view' && object.kind !== 'once'
        ? object.items.at(at)
        : undefined;
    }
    return typeof key === 'string' ? methodOf(object, key, this.#render) : undefined;
  }

  #slice(object: Value, node: SliceNode, scope: Scope): Value {
    const [start, stop, step] = [node.start, node.stop, node.step].map((part) => {
      const value = part === undefined ? undefined : this.evaluate(part, scope);
      if (value !== undefined && value !== null && typeof value !== 'number')
        throw unsupported('cuts at something that is no whole number');
      return value ?? undefined;
    });
    return cut(object, start, stop, step, this.#render);
  }
}
