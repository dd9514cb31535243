/**
 * Operators of chat templates: comparing, joining, calculating and cutting, as in Python.
 *
 * Trust:  results are bounded by the render's budget before they are made.
 * Limits: whole numbers that JavaScript cannot hold exactly are refused.
 * Source: https://docs.python.org/3/reference/expressions.html
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import type { Budget } from '../runtime/budget.ts';
import { unsupported } from '../runtime/budget.ts';
import { contains, order } from '../runtime/comparison.ts';
import type { Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import { characters, charactersOf } from './string-ops.ts';
import type { Render, Value } from '../runtime/value.ts';
import { equal, Float, isText, List, numeric, truth } from '../runtime/value.ts';

/** `not x`, `-x` and `+x`. */
export function negate(operator: string, value: Value): Value {
  if (operator === 'not') return !truth(value);
  const number = numeric(value);
  if (number === undefined) throw unsupported('negates something that is no number');
  const result = operator === '-' ? -number : number;
  return value instanceof Float ? new Float(result) : result;
}

/** One comparison; a chain of them is the caller's. */
export function compare(operator: string, left: Value, right: Value, render: Render): boolean {
  switch (operator) {
    case '==':
      return equal(left, right, render);
    case '!=':
      return !equal(left, right, render);
    case 'in':
      return contains(right, left, render);
    case 'not in':
      return !contains(right, left, render);
    case '<':
      return order(left, right, render) < 0;
    case '>':
      return order(left, right, render) > 0;
    case '<=':
      return order(left, right, render) <= 0;
    default:
      return order(left, right, render) >= 0;
  }
}

/** Text or a list several times. */
function repeat(value: Value, times: Value, render: Render): Value {
  const { budget } = render;
  if (typeof times !== 'number' && typeof times !== 'boolean') return undefined;
  const count = Math.max(0, Number(times));
  if (isText(value)) {
    budget.each(value.length * count);
    return typeof value === 'string'
      ? value.repeat(count)
      : Rope.concat(
          Array.from({ length: count }, () => value),
          budget,
        );
  }
  if (!(value instanceof List) || (value.kind !== 'list' && value.kind !== 'tuple')) return undefined;
  budget.bytes(value.items.length * count);
  budget.spend(count + value.items.length * count);
  return new List(Array.from({ length: count }, () => value.items).flat(), value.kind);
}

/** What two values make. */
export function combine(operator: string, left: Value, right: Value, render: Render): Value {
  const { budget } = render;
  if (operator === '+' && isText(left) && isText(right)) return Rope.concat([left, right], budget);
  if (
    operator === '+' &&
    left instanceof List &&
    right instanceof List &&
    left.kind === right.kind &&
    (left.kind === 'list' || left.kind === 'tuple')
  ) {
    budget.spend(left.items.length + right.items.length);
    return new List([...left.items, ...right.items], left.kind);
  }
  const repeated = operator === '*' ? (repeat(left, right, render) ?? repeat(right, left, render)) : undefined;
  return repeated ?? arithmetic(operator, left, right);
}

/** The positions of a Python slice. */
function positions(
  length: number,
  start: number | undefined,
  stop: number | undefined,
  step: number,
  budget: Budget,
): number[] {
  const place = (index: number, least: number, most: number) =>
    Math.min(most, Math.max(least, index < 0 ? index + length : index));
  const [least, most] = step > 0 ? [0, length] : [-1, length - 1];
  const from = start === undefined ? (step > 0 ? least : most) : place(start, least, most);
  const to = stop === undefined ? (step > 0 ? most : least) : place(stop, least, most);
  const count = Math.max(0, Math.ceil((to - from) / step));
  budget.spend(1 + count);
  return Array.from({ length: count }, (_, i) => from + i * step);
}

/** `x[start:stop:step]`. */
export function cut(
  object: Value,
  start: number | undefined,
  stop: number | undefined,
  step: number | undefined,
  { budget }: Render,
): Value {
  if (step === 0) throw unsupported('cuts with a step of 0');
  if (isText(object)) {
    if (step === undefined || step === 1) return characters(object, start, stop, budget);
    const all: readonly Str[] = charactersOf(object, budget);
    return Rope.concat(
      positions(all.length, start, stop, step, budget).map((at) => all[at] ?? ''),
      budget,
    );
  }
  if (!(object instanceof List) || (object.kind !== 'list' && object.kind !== 'tuple'))
    throw unsupported('cuts something that is no list');
  budget.hold(2);
  const chosen = positions(object.items.length, start, stop, step ?? 1, budget);
  return new List(
    chosen.map((at) => object.items[at]),
    object.kind,
  );
}

/** The remainder with the sign of the divisor, and the quotient below. */
function divide(a: number, b: number): { readonly quotient: number; readonly rest: number } {
  let rest = a % b;
  if (rest === 0) rest = b < 0 ? -0 : 0;
  else if (rest < 0 !== b < 0) rest += b;
  const exact = (a - rest) / b;
  const quotient = Math.floor(exact);
  return { quotient: exact - quotient > 0.5 ? quotient + 1 : quotient, rest };
}

/** Python's arithmetic. */
function arithmetic(operator: string, left: Value, right: Value): Value {
  const a = numeric(left);
  const b = numeric(right);
  if (a === undefined || b === undefined) throw unsupported('calculates with something that is no number');
  if (b === 0 && '//%'.includes(operator)) throw unsupported('divides by zero');
  const results: Readonly<Record<string, () => number>> = {
    '+': () => a + b,
    '-': () => a - b,
    '*': () => a * b,
    '/': () => a / b,
    '//': () => divide(a, b).quotient,
    '%': () => divide(a, b).rest,
    '**': () => a ** b,
  };
  const result = Object.hasOwn(results, operator) ? results[operator]?.() : undefined;
  if (result === undefined || !Number.isFinite(result)) throw unsupported('calculates what has no result');
  const whole = !(left instanceof Float || right instanceof Float) && operator !== '/' && !(operator === '**' && b < 0);
  if (whole && !Number.isSafeInteger(result)) throw unsupported('calculates with numbers that are too large');
  return whole ? result : new Float(result);
}
