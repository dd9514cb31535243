/**
 * Tests of chat templates (`x is defined`, `x is divisibleby(3)`).
 *
 * Trust:  the table is closed; an unknown name is refused, never looked up elsewhere.
 * Source: https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-tests
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import { parameters } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import { hasCase } from './case-mapping.ts';
import { compare } from './operators.ts';
import { contains } from '../runtime/comparison.ts';
import { print } from './formatting.ts';
import type { Arguments, Render, Value } from '../runtime/value.ts';
import { Callable, Dict, Float, isDict, isText, List, numeric, Safe } from '../runtime/value.ts';

type Test = (value: Value, args: Arguments, render: Render) => boolean;

/** A test without arguments. */
const plain =
  (test: (value: Value, render: Render) => boolean): Test =>
  (value, args, render) => {
    parameters(args, []);
    return test(value, render);
  };

/** A test with one argument. */
const against =
  (test: (value: Value, other: Value, render: Render) => boolean): Test =>
  (value, args, render) =>
    test(value, parameters(args, [''], 1)[0], render);

const comparing = (operator: string) => against((value, other, render) => compare(operator, value, other, render));

function remainder(value: Value, divisor: Value): number {
  const a = numeric(value);
  const b = numeric(divisor);
  if (a === undefined || b === undefined || b === 0) throw unsupported('divides what is no number');
  return ((a % b) + b) % b;
}

/** Whether two values are one and the same; of numbers and texts Python leaves that open. */
function same(value: Value, other: Value): boolean {
  if ([value, other].some((one) => typeof one === 'number' || one instanceof Float || isText(one)))
    throw unsupported('asks whether two numbers or texts are one and the same');
  return value === other;
}

const isSequence = (value: Value) =>
  value === undefined ||
  isText(value) ||
  isDict(value) ||
  (value instanceof List && value.kind !== 'once' && value.kind !== 'view');

const tests = new Map<string, Test>([
  ['defined', plain((value) => value !== undefined)],
  ['undefined', plain((value) => value === undefined)],
  ['none', plain((value) => value === null)],
  ['string', plain((value) => isText(value) || value instanceof Safe)],
  ['mapping', plain(isDict)],
  ['sequence', plain(isSequence)],
  [
    'iterable',
    plain((value) => isSequence(value) || value instanceof List || (value instanceof Dict && value.kind === 'loop')),
  ],
  ['number', plain((value) => numeric(value) !== undefined)],
  ['integer', plain((value) => typeof value === 'number')],
  ['float', plain((value) => value instanceof Float)],
  ['boolean', plain((value) => typeof value === 'boolean')],
  ['true', plain((value) => value === true)],
  ['false', plain((value) => value === false)],
  ['odd', plain((value) => remainder(value, 2) === 1)],
  ['even', plain((value) => remainder(value, 2) === 0)],
  ['divisibleby', against((value, other) => remainder(value, other) === 0)],
  ['callable', plain((value) => value === undefined || value instanceof Callable)],
  ['upper', plain((value, render) => hasCase(print(value, render), 'upper', render))],
  ['lower', plain((value, render) => hasCase(print(value, render), 'lower', render))],
  ['sameas', against(same)],
  ['in', against((value, other, render) => contains(other, value, render))],
  ...['eq', 'equalto', '=='].map((name): [string, Test] => [name, comparing('==')]),
  ...['ne', '!='].map((name): [string, Test] => [name, comparing('!=')]),
  ...['gt', 'greaterthan', '>'].map((name): [string, Test] => [name, comparing('>')]),
  ...['ge', '>='].map((name): [string, Test] => [name, comparing('>=')]),
  ...['lt', 'lessthan', '<'].map((name): [string, Test] => [name, comparing('<')]),
  ...['le', '<='].map((name): [string, Test] => [name, comparing('<=')]),
]);

/** A name as the error shows it; a template's names are words, and anything else is not shown. */
export const plainName = (name: string) => (/^\w{1,40}$/.test(name) ? name : 'of another kind');

/** Applies a test by its name. @throws `TEMPLATE_UNSUPPORTED` for a name that is not known. */
export function applyTest(name: string, value: Value, args: Arguments, render: Render): boolean {
  const test = tests.get(name);
  if (test === undefined) throw unsupported(`uses the test ${plainName(name)}`);
  render.budget.spend(1 + args.positional.length + args.named.size);
  return test(value, args, render);
}

/** Names of all tests, for the test that measures them. */
export const testNames: readonly string[] = [...tests.keys()];
