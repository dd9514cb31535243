/**
 * Arguments of filters, tests, methods and functions: by position or by name, as their signature in Python has them.
 *
 * Promise: an argument that the signature does not have is refused, never dropped.
 * Proof:   test/unit/template/evaluator.test.ts
 * @module
 */
import { unsupported } from './budget.ts';
import type { Str } from './rope.ts';
import type { Arguments, Value } from './value.ts';
import { isText } from './value.ts';

const refused = () => unsupported('passes arguments in an unknown way');

/**
 * The values of the parameters `names`, in their order; those that are not given are `undefined`.
 * @param least - how many must be given. @throws `TEMPLATE_UNSUPPORTED`
 */
export function parameters(args: Arguments, names: readonly string[], least = 0): Value[] {
  if (args.positional.length > names.length) throw refused();
  const values: Value[] = names.map((_, i) => args.positional[i]);
  let count = args.positional.length;
  for (const [name, value] of args.named) {
    const at = names.indexOf(name);
    if (at < args.positional.length) throw refused();
    values[at] = value;
    count += 1;
  }
  if (count < least) throw refused();
  return values;
}

/** A text, or a refusal. */
export function requireText(value: Value): Str {
  if (isText(value)) return value;
  throw unsupported('passes something that is no text');
}

/** A whole number, or a refusal. */
export function requireWhole(value: Value): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  throw unsupported('passes something that is no whole number');
}

/** Text of the template only: what makes new letters would make a string of a conversation. */
export function requirePlain(value: Str, what: string): string {
  if (typeof value !== 'string') throw unsupported(`${what} text of a message`);
  return value;
}
