/**
 * Runs a parsed chat template over values of ours, bounded in steps, size and depth.
 *
 * Promise: `@huggingface/jinja` only parses the template's source; what runs here knows no value but those of value.ts,
 *          makes no code from strings, and stops with `TEMPLATE_LIMIT` long before a stall is felt.
 * Trust:   the template comes with the model and may be hostile; conversation text is slices that stay slices (rope.ts).
 * Limits:  scopes are Python's: what a loop's body sets ends with its round, and macros see where they were defined.
 * Source:  https://jinja.palletsprojects.com/en/stable/templates/
 * Proof:   test/unit/engine/jinja.test.ts, test/unit/engine/template.test.ts
 * @module
 */
import { applyFilter, applyTest } from './filter.ts';
import { methodOf } from './method.ts';
import type { Node, Statement } from './node.ts';
import { combine, cut, negate } from './operator.ts';
import { RequestError } from './request.ts';
import type { Str } from './rope.ts';
import { Rope, unsupported } from './rope.ts';
import { characterAt } from './text.ts';
import type { Arguments, Render, Value } from './value.ts';
import { Callable, Dict, Float, isText, iterate, keyOf, List, lookUp, print, truth } from './value.ts';

const maxDepth = 400;

/** Variables of one scope and those around it. */
export class Scope {
  readonly #variables = new Map<string, Value>();
  readonly #parent: Scope | undefined;

  constructor(parent?: Scope) {
    this.#parent = parent;
  }

  get(name: string): Value {
    return this.#variables.has(name) ? this.#variables.get(name) : this.#parent?.get(name);
  }

  set(name: string, value: Value): void {
    this.#variables.set(name, value);
  }
}

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
  run(body: readonly Statement[], scope: Scope): Str {
    const out: Str[] = [];
    this.#block(body, scope, out);
    return Rope.concat(out, this.#render.budget);
  }

  #enter(): void {
    this.#render.budget.spend(1);
    if (++this.#depth > maxDepth) throw new RequestError('TEMPLATE_LIMIT', "the model's chat template is nested too deep");
  }

  #block(body: readonly Statement[], scope: Scope, out: Str[]): Exit {
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
      case 'Comment':
        return 'end';
      case 'If':
        return this.#block(truth(this.evaluate(node.test, scope)) ? node.body : node.alternate, scope, out);
      case 'For':
        return this.#loop(node, scope, out);
      case 'Set':
        this.#assign(node.assignee, node.value === null ? this.run(node.body, scope) : this.evaluate(node.value, scope), scope);
        return 'end';
      case 'Macro':
        scope.set(node.name.value, this.#macro(node.args, node.body, scope));
        return 'end';
      case 'CallStatement': {
        const inner = new Scope(scope);
        const caller = this.#macro(node.callerArgs ?? [], node.body, scope);
        inner.set('caller', caller);
        out.push(print(this.#call(node.call, inner, caller), this.#render));
        return 'end';
      }
      case 'FilterStatement':
        out.push(print(this.#filter(this.run(node.body, scope), node.filter, scope), this.#render));
        return 'end';
      case 'Break':
        return 'break';
      case 'Continue':
        return 'continue';
      default:
        out.push(print(this.evaluate(node, scope), this.#render));
        return 'end';
    }
  }

  #loop(node: Extract<Node, { type: 'For' }>, scope: Scope, out: Str[]): Exit {
    const { iterable } = node;
    const source = iterate(this.evaluate(iterable.type === 'SelectExpression' ? iterable.lhs : iterable, scope), this.#render);
    const items =
      iterable.type !== 'SelectExpression'
        ? [...source]
        : source.filter((item) => {
            const inner = new Scope(scope);
            this.#assign(node.loopvar, item, inner);
            return truth(this.evaluate(iterable.test, inner));
          });
    const { length } = items;
    for (let i = 0; i < length; i += 1) {
      const inner = new Scope(scope);
      this.#assign(node.loopvar, items[i], inner);
      inner.set('loop', new Dict([
        ['index', i + 1],
        ['index0', i],
        ['revindex', length - i],
        ['revindex0', length - i - 1],
        ['first', i === 0],
        ['last', i === length - 1],
        ['length', length],
        ['previtem', items[i - 1]],
        ['nextitem', items[i + 1]],
      ]));
      if (this.#block(node.body, inner, out) === 'break') break;
    }
    // A break or continue in the `else` part belongs to the loop around this one.
    return length === 0 ? this.#block(node.defaultBlock, scope, out) : 'end';
  }

  #assign(target: Node, value: Value, scope: Scope): void {
    if (target.type === 'Identifier') {
      scope.set(target.value, value);
      return;
    }
    if (target.type === 'TupleLiteral') {
      const items = iterate(value, this.#render);
      if (items.length !== target.value.length) throw unsupported('unpacks another number of values than there are');
      target.value.forEach((part, i) => {
        this.#assign(part, items[i], scope);
      });
      return;
    }
    const object = target.type === 'MemberExpression' ? this.evaluate(target.object, scope) : undefined;
    if (target.type !== 'MemberExpression' || !(object instanceof Dict) || !object.isNamespace) throw unsupported('assigns to something that is no variable');
    object.entries.set(target.computed ? keyOf(this.evaluate(target.property, scope)) : nameOf(target.property), value);
  }

  #macro(parameters: readonly Node[], body: readonly Statement[], defined: Scope): Callable {
    return new Callable((args) => {
      const scope = new Scope(defined);
      const names: string[] = [];
      parameters.forEach((parameter, i) => {
        const name = parameter.type === 'KeywordArgumentExpression' ? parameter.key.value : nameOf(parameter);
        names.push(name);
        const given = i < args.positional.length ? args.positional[i] : args.named.get(name);
        scope.set(name, given === undefined && parameter.type === 'KeywordArgumentExpression' ? this.evaluate(parameter.value, scope) : given);
      });
      scope.set('varargs', new List(args.positional.slice(parameters.length)));
      scope.set('kwargs', new Dict([...args.named].filter(([name]) => !names.includes(name) && name !== 'caller')));
      if (args.named.has('caller')) scope.set('caller', args.named.get('caller'));
      return this.run(body, scope);
    });
  }

  #arguments(nodes: readonly Node[], scope: Scope): Arguments {
    const positional: Value[] = [];
    const named = new Map<string, Value>();
    for (const node of nodes) {
      if (node.type === 'KeywordArgumentExpression') named.set(node.key.value, this.evaluate(node.value, scope));
      else if (node.type === 'SpreadExpression') positional.push(...iterate(this.evaluate(node.argument, scope), this.#render));
      else if (node.type === 'KeywordSpreadExpression') {
        const dict = this.evaluate(node.argument, scope);
        if (!(dict instanceof Dict)) throw unsupported('spreads something that is no dict');
        for (const [key, value] of dict.entries) named.set(String(key), value);
      } else positional.push(this.evaluate(node, scope));
    }
    return { positional, named };
  }

  #call(node: Extract<Node, { type: 'CallExpression' }>, scope: Scope, caller?: Callable): Value {
    const callee = this.evaluate(node.callee, scope);
    if (!(callee instanceof Callable)) throw unsupported('calls something that is no function');
    const { positional, named } = this.#arguments(node.args, scope);
    return callee.call({ positional, named: caller === undefined ? named : new Map([...named, ['caller', caller]]) });
  }

  #filter(value: Value, filter: Node, scope: Scope): Value {
    if (filter.type === 'CallExpression') return applyFilter(nameOf(filter.callee), value, this.#arguments(filter.args, scope), this.#render);
    return applyFilter(nameOf(filter), value, { positional: [], named: new Map() }, this.#render);
  }

  /** The value of an expression. */
  evaluate(node: Node, scope: Scope): Value {
    this.#enter();
    const value = this.#expression(node, scope);
    this.#depth -= 1;
    return value;
  }

  #expression(node: Node, scope: Scope): Value {
    switch (node.type) {
      case 'StringLiteral':
      case 'IntegerLiteral':
        return node.value;
      case 'FloatLiteral':
        return new Float(node.value);
      case 'Identifier':
        return scope.get(node.value);
      case 'ArrayLiteral':
      case 'TupleLiteral':
        return new List(node.value.map((item) => this.evaluate(item, scope)));
      case 'ObjectLiteral':
        return new Dict([...node.value].map(([key, value]) => [keyOf(this.evaluate(key, scope)), this.evaluate(value, scope)] as const));
      case 'MemberExpression':
        return this.#member(node, scope);
      case 'CallExpression':
        return this.#call(node, scope);
      case 'FilterExpression':
        return this.#filter(this.evaluate(node.operand, scope), node.filter, scope);
      case 'TestExpression':
        return applyTest(nameOf(node.test), this.evaluate(node.operand, scope), this.#render) !== node.negate;
      case 'UnaryExpression':
        return negate(node.operator.value, this.evaluate(node.argument, scope));
      case 'BinaryExpression':
        return this.#binary(node, scope);
      case 'Ternary':
        return this.evaluate(truth(this.evaluate(node.condition, scope)) ? node.trueExpr : node.falseExpr, scope);
      case 'SelectExpression':
        return truth(this.evaluate(node.test, scope)) ? this.evaluate(node.lhs, scope) : undefined;
      default:
        throw unsupported('uses an expression that is not known');
    }
  }

  #member(node: Extract<Node, { type: 'MemberExpression' }>, scope: Scope): Value {
    const object = this.evaluate(node.object, scope);
    if (node.computed && node.property.type === 'SliceExpression') return this.#slice(object, node.property, scope);
    const key: Value = node.computed ? this.evaluate(node.property, scope) : node.property.type === 'IntegerLiteral' ? node.property.value : nameOf(node.property);
    if (object instanceof Dict) {
      const found = lookUp(object, key, this.#render);
      if (found !== undefined || (typeof key === 'string' && object.entries.has(key))) return found;
    }
    if (typeof key === 'number') {
      if (isText(object)) return characterAt(object, key, this.#render.budget);
      return object instanceof List ? object.items.at(key) : undefined;
    }
    return typeof key === 'string' ? methodOf(object, key, this.#render) : undefined;
  }

  #slice(object: Value, node: Extract<Node, { type: 'SliceExpression' }>, scope: Scope): Value {
    const [start, stop, step] = [node.start, node.stop, node.step].map((part) => {
      const value = part === undefined ? undefined : this.evaluate(part, scope);
      if (value !== undefined && value !== null && typeof value !== 'number') throw unsupported('cuts at something that is no whole number');
      return value ?? undefined;
    });
    return cut(object, start, stop, step, this.#render.budget);
  }

  #binary(node: Extract<Node, { type: 'BinaryExpression' }>, scope: Scope): Value {
    const operator = node.operator.value;
    const left = this.evaluate(node.left, scope);
    if (operator === 'and') return truth(left) ? this.evaluate(node.right, scope) : left;
    if (operator === 'or') return truth(left) ? left : this.evaluate(node.right, scope);
    return combine(operator, left, this.evaluate(node.right, scope), this.#render);
  }
}

/** A name of the template's source. */
function nameOf(node: Node): string {
  if (node.type !== 'Identifier') throw unsupported('uses an expression in place of a name');
  return node.value;
}
