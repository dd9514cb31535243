/**
 * Which of two values comes first, and whether one is in the other.
 *
 * Limits: text of messages has no order here: sorting it would tell its letters apart.
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import { unsupported } from './budget.ts';
import { orderText } from '../library/formatting.ts';
import { occurrences, Rope } from './rope.ts';
import type { Render, Value } from './value.ts';
import { equal, isDict, isText, iterate, List, lookUp, numeric } from './value.ts';

/** Whether the first value is below (negative), above (positive) or level with (0) the second. */
export function order(a: Value, b: Value, { budget }: Render): number {
  budget.spend(1);
  if (a instanceof Rope || b instanceof Rope) throw unsupported('sorts or compares text of messages');
  const x = numeric(a);
  const y = numeric(b);
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a !== 'string' || typeof b !== 'string') throw unsupported('compares values of different kinds');
  return orderText(a, b, budget);
}

/** Longer ones are looked for in bytes, where the search has no bad cases. */
const shortNeedle = 32;

/** Python's `needle in value`. */
export function contains(value: Value, needle: Value, render: Render): boolean {
  const { budget } = render;
  if (value === undefined) return false;
  if (isText(value)) {
    if (!isText(needle)) throw unsupported('looks for something that is no text in a text');
    if (typeof value === 'string' && typeof needle === 'string') {
      if (needle.length <= value.length && needle.length > shortNeedle)
        return occurrences(Rope.from(value, budget), needle, budget, 1).length > 0;
      budget.bytes(value.length + needle.length);
      return value.includes(needle);
    }
    return needle === '' || occurrences(Rope.from(value, budget), needle, budget, 1).length > 0;
  }
  if (isDict(value)) return lookUp(value, needle, render).found;
  if (!(value instanceof List)) throw unsupported('looks into something that holds nothing');
  const found = iterate(value, render).some((item) => equal(item, needle, render));
  if (found && value.kind === 'once') value.used = 'partly';
  return found;
}
