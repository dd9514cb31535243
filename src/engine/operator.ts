/**
 * Operators of chat templates: comparing, joining, calculating and cutting, as in Python.
 *
 * Trust:  results are bounded by the render's budget before they are made.
 * Source: https://docs.python.org/3/reference/expressions.html
 * Proof:  test/unit/engine/jinja.test.ts
 * @module
 */
import { contains, order } from './filter.ts';
import type { Budget } from './rope.ts';
import { Rope, unsupported } from './rope.ts';
import { characters } from './text.ts';
import type { Render, Value } from './value.ts';
import { equal, Float, isText, List, numeric, print, truth } from './value.ts';

/** `not x`, `-x` and `+x`. */
export function negate(operator: string, value: Value): Value {
  if (operator === 'not') return !truth(value);
  const number = numeric(value);
  if (number === undefined) throw unsupported('negates something that is no number');
  const result = operator === '-' ? -number : number;
  return value instanceof Float ? new Float(result) : result;
}

/** What two values make, but for `and` and `or`, which may not look at the second. */
export function combine(operator: string, left: Value, right: Value, render: Render): Value {
  const { budget } = render;
  switch (operator) {
    case '==':
      return equal(left, right, render);
    case '!=':
      return !equal(left, right, render);
    case 'in':
      return contains(right, left, render);
    case 'not in':
      return !contains(right, left, render);
    case '~':
      return Rope.concat([print(left, render), print(right, render)], budget);
    case '<':
      return order(left, right) < 0;
    case '>':
      return order(left, right) > 0;
    case '<=':
      return order(left, right) <= 0;
    case '>=':
      return order(left, right) >= 0;
    default:
  }
  if (operator === '+' && (isText(left) || isText(right))) return Rope.concat([print(left, render), print(right, render)], budget);
  if (operator === '+' && left instanceof List && right instanceof List) {
    budget.spend(left.items.length + right.items.length);
    return new List([...left.items, ...right.items]);
  }
  if (operator === '*' && typeof left === 'string' && typeof right === 'number') {
    budget.bytes(left.length * Math.max(0, right));
    return left.repeat(Math.max(0, right));
  }
  return arithmetic(operator, left, right);
}

/** `x[start:stop:step]`. */
export function cut(object: Value, start: number | undefined, stop: number | undefined, step: number | undefined, budget: Budget): Value {
  if (isText(object)) {
    if (step !== undefined && step !== 1) throw unsupported('cuts a text with a step');
    return characters(object, start, stop, budget);
  }
  if (!(object instanceof List)) throw unsupported('cuts something that is no list');
  budget.spend(1 + (object.items.length >> 4));
  if (step === undefined || step === 1) return new List(object.items.slice(start ?? 0, stop));
  if (step === 0) throw unsupported('cuts with a step of 0');
  const all = step > 0 ? object.items.slice(start ?? 0, stop) : backwards(object.items, start, stop);
  return new List(all.filter((_, i) => i % Math.abs(step) === 0));
}

/** The items of a slice with a negative step, from its first to its last. */
function backwards(items: readonly Value[], start: number | undefined, stop: number | undefined): Value[] {
  const place = (index: number) => (index < 0 ? items.length + index : index);
  const from = start === undefined ? items.length - 1 : Math.min(place(start), items.length - 1);
  const to = stop === undefined ? -1 : Math.max(-1, place(stop));
  return items.slice(to + 1, from + 1).reverse();
}

/** Python's arithmetic. */
function arithmetic(operator: string, left: Value, right: Value): Value {
  const a = numeric(left);
  const b = numeric(right);
  if (a === undefined || b === undefined) throw unsupported('calculates with something that is no number');
  if (b === 0 && '//%'.includes(operator)) throw unsupported('divides by zero');
  const exact = !(left instanceof Float || right instanceof Float);
  const results: Readonly<Record<string, () => number>> = {
    '+': () => a + b,
    '-': () => a - b,
    '*': () => a * b,
    '/': () => a / b,
    '//': () => Math.floor(a / b),
    '%': () => a - b * Math.floor(a / b),
    '**': () => a ** b,
  };
  const result = Object.hasOwn(results, operator) ? results[operator]?.() : undefined;
  if (result === undefined || !Number.isFinite(result)) throw unsupported('calculates what has no result');
  return exact && operator !== '/' && Number.isInteger(result) ? result : new Float(result);
}
