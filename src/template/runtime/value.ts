/**
 * The values of a chat template: nothing but these, so a template reaches no object, prototype or function of ours.
 *
 * Promise: attributes are looked up in maps that hold what was put there and nothing else.
 * Source:  https://docs.python.org/3/library/stdtypes.html (what Jinja's values are)
 * Proof:   test/unit/template/evaluator.test.ts
 * @module
 */
import type { Budget } from './budget.ts';
import { TemplateError, unsupported } from './budget.ts';
import type { Str } from './rope.ts';
import { equalText, Rope } from './rope.ts';
import { charactersOf } from '../library/string-ops.ts';

/** A number that Python would print with a point. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/**
 * What kind of sequence it is under Python: a view of a dict has no items by number, and what `map` or `select` give
 * can be gone through once, is true even when it is empty, and has no length.
 */
export type ListKind = 'list' | 'tuple' | 'range' | 'view' | 'once';

/** Values one after another. */
export class List {
  readonly items: Value[];
  readonly kind: ListKind;
  /** Of one that can be gone through once: how far it was. */
  used: 'not' | 'partly' | 'whole' = 'not';
  constructor(items: Value[], kind: ListKind = 'list') {
    this.items = items;
    this.kind = kind;
  }
}

/** A dict; a namespace, whose attributes a template may set; or what `loop` is. */
export class Dict {
  readonly entries: Map<string | number, Value>;
  readonly kind: 'dict' | 'namespace' | 'loop';
  constructor(entries: Iterable<readonly [string | number, Value]> = [], kind: 'dict' | 'namespace' | 'loop' = 'dict') {
    this.entries = new Map(entries);
    this.kind = kind;
  }
}

/** What the filter `safe` gives: text to print. Under Python it would escape whatever is added to it. */
export class Safe {
  readonly text: Str;
  constructor(text: Str) {
    this.text = text;
  }
}

export type Arguments = { readonly positional: readonly Value[]; readonly named: ReadonlyMap<string, Value> };

/** A macro or one of the few functions that templates are given. */
export class Callable {
  readonly call: (args: Arguments) => Value;
  constructor(call: (args: Arguments) => Value) {
    this.call = call;
  }
}

/** `undefined` is Jinja's undefined, `null` is None; a number is a whole one. */
export type Value = undefined | null | boolean | number | Float | Str | Safe | List | Dict | Callable;

/** The state that one render shares: its costs, and new bytes to overwrite in the end. */
export type Render = { readonly budget: Budget; readonly own: (bytes: Buffer) => void };

/** Values within one another. */
export const maxNesting = 64;

export const tooDeep = () => new TemplateError('TEMPLATE_LIMIT', "the model's chat template nests values too deep");

export const isText = (value: Value): value is Str => typeof value === 'string' || value instanceof Rope;
export const isDict = (value: Value): value is Dict => value instanceof Dict && value.kind === 'dict';

/** What Python takes for true. */
export function truth(value: Value): boolean {
  if (value instanceof List) return value.kind === 'once' || value.items.length > 0;
  if (value instanceof Dict) return value.kind !== 'dict' || value.entries.size > 0;
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Safe) return value.text !== '';
  return value instanceof Rope || value instanceof Callable || Boolean(value);
}

/** The number that a value counts as, or `undefined`. */
export function numeric(value: Value): number | undefined {
  if (value instanceof Float) return value.value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'number' ? value : undefined;
}

/** Python's `==`. */
export function equal(a: Value, b: Value, render: Render, depth = 0): boolean {
  render.budget.spend(1);
  if (depth > maxNesting) throw tooDeep();
  if (isText(a) && isText(b)) return equalText(a, b, render.budget);
  const x = numeric(a);
  const y = numeric(b);
  if (x !== undefined && y !== undefined) return x === y;
  if (a === b) return true;
  if (a instanceof Safe || b instanceof Safe) throw unsupported('compares text that is marked as safe');
  if (a instanceof List && b instanceof List) {
    if (a.kind === 'view' && b.kind === 'view') throw unsupported('compares the keys or items of dicts');
    if (a.kind !== b.kind || a.kind === 'once' || a.kind === 'view') return false;
    return a.items.length === b.items.length && a.items.every((item, i) => equal(item, b.items[i], render, depth + 1));
  }
  if (!isDict(a) || !isDict(b) || a.entries.size !== b.entries.size) return false;
  for (const [key, item] of a.entries)
    if (!b.entries.has(key) || !equal(item, b.entries.get(key), render, depth + 1)) return false;
  return true;
}

/** A key as dicts have them: a plain string or a whole number. */
export function keyOf(value: Value): string | number {
  if (typeof value === 'string' || typeof value === 'number') return value;
  if (value instanceof Float && Number.isSafeInteger(value.value)) return value.value;
  throw unsupported(
    value instanceof Rope
      ? 'uses text of a message as a name'
      : 'uses something else than a string or a whole number as a key',
  );
}

/**
 * The value under a key; text of a message is compared with each. `found` tells a value that is undefined from none.
 */
export function lookUp(dict: Dict, key: Value, render: Render): { readonly found: boolean; readonly value: Value } {
  const { budget } = render;
  if (key instanceof Rope) {
    for (const [name, value] of dict.entries) {
      budget.spend(1);
      if (typeof name === 'string' && equalText(name, key, budget)) return { found: true, value };
    }
    return { found: false, value: undefined };
  }
  if (key instanceof List || key instanceof Dict) throw unsupported('looks for a list or a dict as a key');
  const plain = numeric(key) ?? key;
  if (typeof plain === 'string') budget.each(plain.length); // a string that was just made has to be hashed
  if (typeof plain !== 'string' && typeof plain !== 'number') return { found: false, value: undefined };
  return { found: dict.entries.has(plain), value: dict.entries.get(plain) };
}

/** The items that a loop or a filter goes through. */
export function iterate(value: Value, render: Render): readonly Value[] {
  const { budget } = render;
  if (value instanceof List) {
    if (value.kind === 'once') {
      if (value.used === 'partly') throw unsupported('goes on through values that it went through in part');
      if (value.used === 'whole') return [];
      value.used = 'whole';
    }
    budget.spend(value.items.length);
    return value.items;
  }
  if (isDict(value)) {
    budget.spend(value.entries.size);
    return [...value.entries.keys()];
  }
  if (typeof value === 'string') return charactersOf(value, budget);
  if (value === undefined) return [];
  throw unsupported(
    value instanceof Rope
      ? 'goes through text of a message letter by letter'
      : 'goes through something that is no list',
  );
}
