/**
 * Ordering of values, and Python's `in`.
 *
 * Limits: message text cannot be ordered, because sorting would branch on its characters.
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import { unsupported } from './budget.ts';
import { compareTexts } from '../library/string-ops.ts';
import { occurrences, Rope } from './rope.ts';
import type { Render, Value } from './value.ts';
import { equals, isDict, isText, iterate, List, lookup, toNumber } from './value.ts';

/** Compares two values: negative if `a` comes first, positive if `b` does, 0 if they are equal. */
export function compareValues(a: Value, b: Value, { budget }: Render): number {
  budget.spend(1);
  if (a instanceof Rope || b instanceof Rope) throw unsupported('orders message text');
  const x = toNumber(a);
  const y = toNumber(b);
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a !== 'string' || typeof b !== 'string') throw unsupported('orders values of different types');
  return compareTexts(a, b, budget);
}

/** Longer needles are searched for as bytes, in linear time (`byte-search.ts`). */
const shortNeedle = 32;

/** Python's `needle in value`. */
export function contains(value: Value, needle: Value, render: Render): boolean {
  const { budget } = render;
  if (value === undefined) return false;
  if (isText(value)) {
    if (!isText(needle)) throw unsupported('tests whether a text contains a value that is not text');
    if (typeof value === 'string' && typeof needle === 'string') {
      if (needle.length <= value.length && needle.length > shortNeedle)
        return occurrences(Rope.from(value, budget), needle, budget, 1).length > 0;
      budget.scan(value.length + needle.length);
      return value.includes(needle);
    }
    return needle === '' || occurrences(Rope.from(value, budget), needle, budget, 1).length > 0;
  }
  if (isDict(value)) return lookup(value, needle, render).found;
  if (!(value instanceof List)) throw unsupported('uses `in` on a value that is not a container');
  const found = iterate(value, render).some((item) => equals(item, needle, render));
  if (found && value.kind === 'generator') value.consumed = 'partly';
  return found;
}
