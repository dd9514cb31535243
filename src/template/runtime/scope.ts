/**
 * The variables of a template and the `loop` variable.
 *
 * Source: https://jinja.palletsprojects.com/en/stable/templates/#for
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import { bindParameters } from './arguments.ts';
import { unsupported } from './budget.ts';
import type { Render, Value } from './value.ts';
import { Callable, Dict } from './value.ts';

/** The variables of one scope. Lookups continue in the enclosing scopes. */
export class Scope {
  readonly #variables = new Map<string, Value>();
  readonly #parent: Scope | undefined;
  #loop: (() => Value) | undefined;
  /** Number of enclosing scopes. */
  readonly depth: number;

  /** @param loop - creates the `loop` variable on first use */
  constructor(parent?: Scope, loop?: () => Value) {
    this.#parent = parent;
    this.#loop = loop;
    this.depth = parent === undefined ? 0 : parent.depth + 1;
  }

  get(name: string): Value {
    if (this.#variables.has(name)) return this.#variables.get(name);
    if (name === 'loop' && this.#loop !== undefined) {
      const loop = this.#loop();
      this.#loop = undefined;
      this.#variables.set(name, loop);
      return loop;
    }
    return this.#parent?.get(name);
  }

  set(name: string, value: Value): void {
    this.#variables.set(name, value);
  }
}

const loopCost = 16;

/** Creates the `loop` variable of one iteration. */
export function loopVariable(items: readonly Value[], at: number, render: Render): Dict {
  const { length } = items;
  render.budget.retain(loopCost);
  return new Dict(
    [
      ['index', at + 1],
      ['index0', at],
      ['revindex', length - at],
      ['revindex0', length - at - 1],
      ['first', at === 0],
      ['last', at === length - 1],
      ['length', length],
      // Only recursive loops have a greater depth, and they are refused.
      ['depth', 1],
      ['depth0', 0],
      ['previtem', items[at - 1]],
      ['nextitem', items[at + 1]],
      [
        'cycle',
        new Callable(({ positional, named }) => {
          bindParameters({ positional: [], named }, []);
          if (positional.length === 0) throw unsupported('calls loop.cycle without arguments');
          return positional[at % positional.length];
        }),
      ],
      [
        'changed',
        new Callable(() => {
          throw unsupported('calls loop.changed');
        }),
      ],
    ],
    'loop',
  );
}
