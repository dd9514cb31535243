/**
 * The operators of chat templates: comparison, concatenation, arithmetic and slicing, as in Python.
 *
 * Trust:  a result is charged to the render's budget before it is created.
 * Limits: integers beyond 2^53 are refused.
 * Source: https://docs.python.org/3/reference/expressions.html
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import type { Budget } from '../runtime/budget.ts';
import { unsupported } from '../runtime/budget.ts';
import { compareValues, contains } from '../runtime/comparison.ts';
import type { Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import { characters, charactersOf } from './string-ops.ts';
import type { Render, Value } from '../runtime/value.ts';
import { equals, Float, isText, List, toNumber, isTruthy } from '../runtime/value.ts';

/** Applies `not`, `-` or `+`. */
export function applyUnary(operator: string, value: Value): Value {
  if (operator === 'not') return !isTruthy(value);
  const number = toNumber(value);
  if (number === undefined) throw unsupported('negates a value that is not a number');
  const result = operator === '-' ? -number : number;
  return value instanceof Float ? new Float(result) : result;
}

/** Applies one comparison; the caller handles chains. */
export function applyComparison(operator: string, left: Value, right: Value, render: Render): boolean {
  switch (operator) {
    case '==':
      return equals(left, right, render);
    case '!=':
      return !equals(left, right, render);
    case 'in':
      return contains(right, left, render);
    case 'not in':
      return !contains(right, left, render);
    case '<':
      return compareValues(left, right, render) < 0;
    case '>':
      return compareValues(left, right, render) > 0;
    case '<=':
      return compareValues(left, right, render) <= 0;
    default:
      return compareValues(left, right, render) >= 0;
  }
}

/** Repeats a text or a list. @returns `undefined` if the operands have other types */
function repeat(value: Value, times: Value, render: Render): Value {
  const { budget } = render;
  if (typeof times !== 'number' && typeof times !== 'boolean') return undefined;
  const count = Math.max(0, Number(times));
  if (isText(value)) {
    budget.walk(value.length * count);
    return typeof value === 'string'
      ? value.repeat(count)
      : Rope.concat(
          Array.from({ length: count }, () => value),
          budget,
        );
  }
  if (!(value instanceof List) || (value.kind !== 'list' && value.kind !== 'tuple')) return undefined;
  budget.scan(value.items.length * count);
  budget.spend(count + value.items.length * count);
  return new List(Array.from({ length: count }, () => value.items).flat(), value.kind);
}

/** Applies an arithmetic operator, or concatenates or repeats sequences. */
export function applyBinary(operator: string, left: Value, right: Value, render: Render): Value {
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

/** Returns the indices of a Python slice. */
function sliceIndices(
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

/** Returns `x[start:stop:step]`. */
export function sliceValue(
  object: Value,
  start: number | undefined,
  stop: number | undefined,
  step: number | undefined,
  { budget }: Render,
): Value {
  if (step === 0) throw unsupported('slices with a step of 0');
  if (isText(object)) {
    if (step === undefined || step === 1) return characters(object, start, stop, budget);
    const all: readonly Str[] = charactersOf(object, budget);
    return Rope.concat(
      sliceIndices(all.length, start, stop, step, budget).map((at) => all[at] ?? ''),
      budget,
    );
  }
  if (!(object instanceof List) || (object.kind !== 'list' && object.kind !== 'tuple'))
    throw unsupported('slices a value that is not a sequence');
  budget.retain(2);
  const chosen = sliceIndices(object.items.length, start, stop, step ?? 1, budget);
  return new List(
    chosen.map((at) => object.items[at]),
    object.kind,
  );
}

/** Divides like Python: the quotient is rounded down, and the remainder has the divisor's sign. */
function floorDivide(a: number, b: number): { readonly quotient: number; readonly remainder: number } {
  let remainder = a % b;
  if (remainder === 0) remainder = b < 0 ? -0 : 0;
  else if (remainder < 0 !== b < 0) remainder += b;
  const exact = (a - remainder) / b;
  const quotient = Math.floor(exact);
  return { quotient: exact - quotient > 0.5 ? quotient + 1 : quotient, remainder };
}

/** Applies an arithmetic operator to numbers, as in Python. */
function arithmetic(operator: string, left: Value, right: Value): Value {
  const a = toNumber(left);
  const b = toNumber(right);
  if (a === undefined || b === undefined) throw unsupported('calculates with a value that is not a number');
  if (b === 0 && '//%'.includes(operator)) throw unsupported('divides by zero');
  const results: Readonly<Record<string, () => number>> = {
    '+': () => a + b,
    '-': () => a - b,
    '*': () => a * b,
    '/': () => a / b,
    '//': () => floorDivide(a, b).quotient,
    '%': () => floorDivide(a, b).remainder,
    '**': () => a ** b,
  };
  const result = Object.hasOwn(results, operator) ? results[operator]?.() : undefined;
  if (result === undefined || !Number.isFinite(result)) throw unsupported('calculates a value that is not finite');
  const isInteger =
    !(left instanceof Float || right instanceof Float) && operator !== '/' && !(operator === '**' && b < 0);
  if (isInteger && !Number.isSafeInteger(result)) throw unsupported('calculates with numbers that are too large');
  return isInteger ? result : new Float(result);
}
