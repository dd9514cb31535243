/**
 * Runs a parsed chat template, with bounded steps, time, size and depth.
 *
 * Promise: the template sees only the values in `value.ts`, cannot create code from strings, and stops with
 *          `TEMPLATE_LIMIT` before a stall is noticeable.
 * Trust:   the template comes with the model and may be hostile. Conversation text remains slices of bytes (`rope.ts`).
 * Limits:  scopes work as in Jinja. A variable set in a loop body lasts until the end of that iteration, and a macro
 *          sees the scope in which it was defined.
 * Source:  https://jinja.palletsprojects.com/en/stable/templates/
 * Proof:   test/unit/template/evaluator.test.ts, test/unit/template/template.test.ts
 * @module
 */
import { unsupported } from './budget.ts';
import { ExpressionEvaluator } from './expression-evaluator.ts';
import type { Body, Expression, Macro, Statement, Target } from '../syntax/ast.ts';
import { print } from '../library/formatting.ts';
import type { Str } from './rope.ts';
import { Rope } from './rope.ts';
import { loopVariable, Scope } from './scope.ts';
import type { Render, Value } from './value.ts';
import { Callable, Dict, isTruthy, iterate, List } from './value.ts';

/** How a block ended; `break` and `continue` apply to the loop around it. */
type Exit = 'end' | 'break' | 'continue';

/** A single run of a template. */
export class Evaluator {
  readonly #render: Render;
  readonly #expressions: ExpressionEvaluator;

  constructor(render: Render) {
    this.#render = render;
    this.#expressions = new ExpressionEvaluator(render);
  }

  /** Runs a block and returns its output. */
  run(body: Body, scope: Scope): Str {
    const out: Str[] = [];
    this.#block(body, scope, out);
    return Rope.concat(out, this.#render.budget);
  }

  #evaluate(node: Expression, scope: Scope): Value {
    return this.#expressions.evaluate(node, scope);
  }

  #block(body: Body, scope: Scope, out: Str[]): Exit {
    this.#expressions.enter();
    let exit: Exit = 'end';
    for (const statement of body) {
      exit = this.#statement(statement, scope, out);
      if (exit !== 'end') break;
    }
    this.#expressions.leave();
    return exit;
  }

  #statement(node: Statement, scope: Scope, out: Str[]): Exit {
    this.#render.budget.spend(1);
    switch (node.type) {
      case 'text':
        out.push(node.text);
        return 'end';
      case 'output':
        out.push(print(this.#evaluate(node.value, scope), this.#render));
        return 'end';
      case 'if': {
        for (const [test, body] of node.branches)
          if (isTruthy(this.#evaluate(test, scope))) return this.#block(body, scope, out);
        return this.#block(node.otherwise, scope, out);
      }
      case 'for':
        return this.#loop(node, scope, out);
      case 'set':
        this.#assign(node.target, this.#evaluate(node.value, scope), scope);
        return 'end';
      case 'set-block': {
        const text = this.run(node.body, new Scope(scope));
        this.#assign(node.target, this.#expressions.filter(text, node.filters, scope), scope);
        return 'end';
      }
      case 'macro':
        scope.set(node.name, this.#macro(node.macro, scope));
        return 'end';
      case 'call-block':
        out.push(print(this.#expressions.call(node.call, scope, this.#macro(node.caller, scope)), this.#render));
        return 'end';
      case 'filter-block': {
        const text = this.run(node.body, new Scope(scope));
        out.push(print(this.#expressions.filter(text, node.filters, scope), this.#render));
        return 'end';
      }
      case 'scope': {
        const inner = new Scope(scope);
        // The value of one variable cannot refer to the others.
        const values = node.variables.map(([, value]) => this.#evaluate(value, scope));
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
    const source = iterate(this.#evaluate(node.iterable, scope), this.#render);
    const { test } = node;
    const items =
      test === undefined
        ? [...source]
        : source.filter((item) => {
            const inner = new Scope(scope);
            this.#assign(node.target, item, inner);
            return isTruthy(this.#evaluate(test, inner));
          });
    // Jinja runs `else` if no iteration reached its end.
    let completed = false;
    for (let i = 0; i < items.length; i += 1) {
      const inner = new Scope(scope, () => loopVariable(items, i, this.#render));
      this.#assign(node.target, items[i], inner);
      const exit = this.#block(node.body, inner, out);
      if (exit === 'break') break;
      completed ||= exit === 'end';
    }
    // A break or continue in the `else` part applies to the enclosing loop.
    return completed ? 'end' : this.#block(node.otherwise, new Scope(scope), out);
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
        throw unsupported('unpacks the wrong number of values');
      target.items.forEach((part, i) => {
        this.#assign(part, items[i], scope);
      });
      return;
    }
    const object = this.#expressions.variable(target.name, scope);
    if (!(object instanceof Dict) || object.kind !== 'namespace')
      throw unsupported('assigns to an attribute of a value that is not a namespace');
    this.#render.budget.retain(1);
    object.entries.set(target.field, value);
  }

  /** Creates a macro, which keeps the scope in which it was defined. */
  #macro({ parameters, body, reads }: Macro, defined: Scope): Callable {
    this.#render.budget.retain(8);
    return new Callable(({ positional, named }) => {
      this.#render.budget.retain(8 + parameters.length + positional.length + 2 * named.size);
      const scope = new Scope(defined);
      const rest = new Map(named);
      const caller = rest.get('caller');
      const unexpected = () => unsupported('passes arguments that a macro does not take');
      if (rest.has('caller') && !parameters.some(({ name }) => name === 'caller')) {
        if (!reads.has('caller')) throw unexpected();
        rest.delete('caller');
      }
      parameters.forEach(({ name, fallback }, i) => {
        const isNamed = rest.has(name);
        if (isNamed && i < positional.length) throw unexpected();
        if (i < positional.length) scope.set(name, positional[i]);
        else if (isNamed) scope.set(name, rest.get(name));
        else scope.set(name, fallback === undefined ? undefined : this.#evaluate(fallback, scope));
        rest.delete(name);
      });
      const more = positional.slice(parameters.length);
      if ((more.length > 0 && !reads.has('varargs')) || (rest.size > 0 && !reads.has('kwargs'))) throw unexpected();
      if (reads.has('varargs')) scope.set('varargs', new List(more, 'tuple'));
      if (reads.has('kwargs')) scope.set('kwargs', new Dict(rest));
      if (reads.has('caller')) scope.set('caller', caller);
      return this.run(body, scope);
    });
  }
}
