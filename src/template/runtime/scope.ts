/**
 * Variables of a template, and what `loop` is within a loop.
 *
 * Source: https://jinja.palletsprojects.com/en/stable/templates/#for
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import { parameters } from './arguments.ts';
import { unsupported } from './budget.ts';
import type { Render, Value } from './value.ts';
import { Callable, Dict } from './value.ts';

/** Variables of one scope and those around it. */
export class Scope {
  readonly #variables = new Map<string, Value>();
  readonly #parent: Scope | undefined;
  #loop: (() => Value) | undefined;
  /** How many scopes there are around it. */
  readonly depth: number;

  /** @param loop - makes the value of `loop` when it is asked for. */
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

/** `loop` in one round. */
export function loopOf(items: readonly Value[], at: number, render: Render): Dict {
  const { length } = items;
  render.budget.hold(loopCost);
  return new Dict(
    [
      ['index', at + 1],
      ['index0', at],
      ['revindex', length - at],
      ['revindex0', length - at - 1],
      ['first', at === 0],
      ['last', at === length - 1],
      ['length', length],
      // Loops within one another are not recursive ones.
      ['depth', 1],
      ['depth0', 0],
      ['previtem', items[at - 1]],
      ['nextitem', items[at + 1]],
      [
        'cycle',
        new Callable(({ positional, named }) => {
          parameters({ positional: [], named }, []);
          if (positional.length === 0) throw unsupported('cycles through nothing');
          return positional[at % positional.length];
        }),
      ],
      [
        'changed',
        new Callable(() => {
          throw unsupported('asks a loop whether something changed');
        }),
      ],
    ],
    'loop',
  );
}
