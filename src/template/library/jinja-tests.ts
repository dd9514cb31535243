/**
 * The tests of chat templates (`x is defined`, `x is divisibleby(3)`).
 *
 * Trust:  the table is closed. An unknown name is refused.
 * Source: https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-tests
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import { bindParameters } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import { hasCase } from './case-mapping.ts';
import { applyComparison } from './operators.ts';
import { contains } from '../runtime/comparison.ts';
import { print } from './formatting.ts';
import type { Arguments, Render, Value } from '../runtime/value.ts';
import { Callable, Dict, Float, isDict, isText, List, toNumber, Markup } from '../runtime/value.ts';

type Test = (value: Value, args: Arguments, render: Render) => boolean;

/** Creates a test without arguments. */
const nullary =
  (test: (value: Value, render: Render) => boolean): Test =>
  (value, args, render) => {
    bindParameters(args, []);
    return test(value, render);
  };

/** Creates a test with one argument. */
const withOperand =
  (test: (value: Value, other: Value, render: Render) => boolean): Test =>
  (value, args, render) =>
    test(value, bindParameters(args, [''], 1)[0], render);

const comparing = (operator: string) =>
  withOperand((value, other, render) => applyComparison(operator, value, other, render));

function remainder(value: Value, divisor: Value): number {
  const a = toNumber(value);
  const b = toNumber(divisor);
  if (a === undefined || b === undefined || b === 0)
    throw unsupported('divides by zero or by a value that is not a number');
  return ((a % b) + b) % b;
}

/** Python's `is`. Its result is unspecified for numbers and texts, so those are refused. */
function isSame(value: Value, other: Value): boolean {
  if ([value, other].some((one) => typeof one === 'number' || one instanceof Float || isText(one)))
    throw unsupported('calls sameas on numbers or texts');
  return value === other;
}

const isSequence = (value: Value) =>
  value === undefined ||
  isText(value) ||
  isDict(value) ||
  (value instanceof List && value.kind !== 'generator' && value.kind !== 'view');

const tests = new Map<string, Test>([
  ['defined', nullary((value) => value !== undefined)],
  ['undefined', nullary((value) => value === undefined)],
  ['none', nullary((value) => value === null)],
  ['string', nullary((value) => isText(value) || value instanceof Markup)],
  ['mapping', nullary(isDict)],
  ['sequence', nullary(isSequence)],
  [
    'iterable',
    nullary((value) => isSequence(value) || value instanceof List || (value instanceof Dict && value.kind === 'loop')),
  ],
  ['number', nullary((value) => toNumber(value) !== undefined)],
  ['integer', nullary((value) => typeof value === 'number')],
  ['float', nullary((value) => value instanceof Float)],
  ['boolean', nullary((value) => typeof value === 'boolean')],
  ['true', nullary((value) => value === true)],
  ['false', nullary((value) => value === false)],
  ['odd', nullary((value) => remainder(value, 2) === 1)],
  ['even', nullary((value) => remainder(value, 2) === 0)],
  ['divisibleby', withOperand((value, other) => remainder(value, other) === 0)],
  ['callable', nullary((value) => value === undefined || value instanceof Callable)],
  ['upper', nullary((value, render) => hasCase(print(value, render), 'upper', render))],
  ['lower', nullary((value, render) => hasCase(print(value, render), 'lower', render))],
  ['sameas', withOperand(isSame)],
  ['in', withOperand((value, other, render) => contains(other, value, render))],
  ...['eq', 'equalto', '=='].map((name): [string, Test] => [name, comparing('==')]),
  ...['ne', '!='].map((name): [string, Test] => [name, comparing('!=')]),
  ...['gt', 'greaterthan', '>'].map((name): [string, Test] => [name, comparing('>')]),
  ...['ge', '>='].map((name): [string, Test] => [name, comparing('>=')]),
  ...['lt', 'lessthan', '<'].map((name): [string, Test] => [name, comparing('<')]),
  ...['le', '<='].map((name): [string, Test] => [name, comparing('<=')]),
]);

/** Returns a filter or test name for an error message. Anything but a plain word is replaced. */
export const displayName = (name: string) => (/^\w{1,40}$/.test(name) ? name : '(unprintable)');

/** Applies a test by its name. @throws `TEMPLATE_UNSUPPORTED` for an unknown name. */
export function applyTest(name: string, value: Value, args: Arguments, render: Render): boolean {
  const test = tests.get(name);
  if (test === undefined) throw unsupported(`uses the test ${displayName(name)}`);
  render.budget.spend(1 + args.positional.length + args.named.size);
  return test(value, args, render);
}

/** Names of all tests, for the cost test. @internal */
export const testNames: readonly string[] = [...tests.keys()];
