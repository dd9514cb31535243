/**
 * Binds positional and named arguments to the parameters that a filter, test, method or function has in Python.
 *
 * Promise: an argument that is not in the signature is refused, never ignored.
 * Proof:   test/unit/template/evaluator.test.ts
 * @module
 */
import { unsupported } from './budget.ts';
import type { Str } from './rope.ts';
import type { Arguments, Render, Value } from './value.ts';
import { isText } from './value.ts';

/** A filter. It receives the operand, then the arguments in parentheses. */
export type Filter = (value: Value, args: Arguments, render: Render) => Value;

/** A method of a text, a list or a dict. */
export type Method<T> = (self: T, args: Arguments, render: Render) => Value;

const unexpected = () => unsupported('passes unexpected arguments');

/**
 * Returns the values of the parameters `names` in order, with `undefined` for absent ones.
 * @param names - an empty name stands for a positional-only parameter
 * @param least - the number of required arguments
 * @throws `TEMPLATE_UNSUPPORTED`
 */
export function bindParameters(args: Arguments, names: readonly string[], least = 0): Value[] {
  if (args.positional.length > names.length) throw unexpected();
  const values: Value[] = names.map((_, i) => args.positional[i]);
  let count = args.positional.length;
  for (const [name, value] of args.named) {
    const at = names.indexOf(name);
    if (at < args.positional.length) throw unexpected();
    values[at] = value;
    count += 1;
  }
  if (count < least) throw unexpected();
  return values;
}

/** @throws `TEMPLATE_UNSUPPORTED` if the value is not text */
export function requireText(value: Value): Str {
  if (isText(value)) return value;
  throw unsupported('passes an argument that is not text');
}

/** @throws `TEMPLATE_UNSUPPORTED` if the value is not an integer */
export function requireInteger(value: Value): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  throw unsupported('passes an argument that is not an integer');
}

/**
 * Returns template text as a string. Conversation text is refused, because it must never become a string.
 * @param what - the operation, as a verb that consists of constants
 * @throws `TEMPLATE_UNSUPPORTED`
 */
export function requireTemplateText(value: Str, what: string): string {
  if (typeof value !== 'string') throw unsupported(`${what} message text`);
  return value;
}
