/**
 * All values that a chat template can use. A template cannot reach a host object, prototype or function.
 *
 * Promise: attributes are looked up in maps, which contain only what was put into them.
 * Source:  https://docs.python.org/3/library/stdtypes.html
 * Proof:   test/unit/template/evaluator.test.ts
 * @module
 */
import type { Budget } from './budget.ts';
import { TemplateError, unsupported } from './budget.ts';
import type { Str } from './rope.ts';
import { equalTexts, Rope } from './rope.ts';
import { charactersOf } from '../library/string-ops.ts';

/** A Python float. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/**
 * The kind of Python sequence. A dict view cannot be indexed. A generator, which `map` and `select` return, can be
 * iterated only once, is truthy even if it is empty, and has no length.
 */
type ListKind = 'list' | 'tuple' | 'range' | 'view' | 'generator';

/** A Python sequence. */
export class List {
  readonly items: Value[];
  readonly kind: ListKind;
  /** How far a generator has been iterated. */
  consumed: 'no' | 'partly' | 'fully' = 'no';
  constructor(items: Value[], kind: ListKind = 'list') {
    this.items = items;
    this.kind = kind;
  }
}

/** A dict, a namespace, or the `loop` variable. */
export class Dict {
  readonly entries: Map<string | number, Value>;
  readonly kind: 'dict' | 'namespace' | 'loop';
  constructor(entries: Iterable<readonly [string | number, Value]> = [], kind: 'dict' | 'namespace' | 'loop' = 'dict') {
    this.entries = new Map(entries);
    this.kind = kind;
  }
}

/** The result of the filter `safe`. It can only be printed: Python's Markup would escape text concatenated to it. */
export class Markup {
  readonly text: Str;
  constructor(text: Str) {
    this.text = text;
  }
}

export type Arguments = { readonly positional: readonly Value[]; readonly named: ReadonlyMap<string, Value> };

/** A macro, a method, or one of the functions in `globals.ts`. */
export class Callable {
  readonly call: (args: Arguments) => Value;
  constructor(call: (args: Arguments) => Value) {
    this.call = call;
  }
}

/** `undefined` is Jinja's Undefined, `null` is None, and a number is an int. */
export type Value = undefined | null | boolean | number | Float | Str | Markup | List | Dict | Callable;

/** The state of one render. `wipeLater` registers bytes that the caller overwrites after the render. */
export type Render = { readonly budget: Budget; readonly wipeLater: (bytes: Buffer) => void };

/** Nesting limit for values. */
export const maxNesting = 64;

export const valueTooDeep = () =>
  new TemplateError('TEMPLATE_LIMIT', "the model's chat template nests values too deeply");

export const isText = (value: Value): value is Str => typeof value === 'string' || value instanceof Rope;
export const isDict = (value: Value): value is Dict => value instanceof Dict && value.kind === 'dict';

export const isNone = (value: Value): value is undefined | null => value === undefined || value === null;

/** Returns Python's `bool(value)`. */
export function isTruthy(value: Value): boolean {
  if (value instanceof List) return value.kind === 'generator' || value.items.length > 0;
  if (value instanceof Dict) return value.kind !== 'dict' || value.entries.size > 0;
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Markup) return value.text !== '';
  return value instanceof Rope || value instanceof Callable || Boolean(value);
}

/** Converts a number or boolean to a number. @returns `undefined` for anything else */
export function toNumber(value: Value): number | undefined {
  if (value instanceof Float) return value.value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'number' ? value : undefined;
}

/** Python's `==`. */
export function equals(a: Value, b: Value, render: Render, depth = 0): boolean {
  render.budget.spend(1);
  if (depth > maxNesting) throw valueTooDeep();
  if (isText(a) && isText(b)) return equalTexts(a, b, render.budget);
  const x = toNumber(a);
  const y = toNumber(b);
  if (x !== undefined && y !== undefined) return x === y;
  if (a === b) return true;
  if (a instanceof Markup || b instanceof Markup) throw unsupported('compares text marked as safe');
  if (a instanceof List && b instanceof List) {
    if (a.kind === 'view' && b.kind === 'view') throw unsupported('compares dict views');
    if (a.kind !== b.kind || a.kind === 'generator' || a.kind === 'view') return false;
    return a.items.length === b.items.length && a.items.every((item, i) => equals(item, b.items[i], render, depth + 1));
  }
  if (!isDict(a) || !isDict(b) || a.entries.size !== b.entries.size) return false;
  for (const [key, item] of a.entries)
    if (!b.entries.has(key) || !equals(item, b.entries.get(key), render, depth + 1)) return false;
  return true;
}

/** Converts a value to a dict key, which is a plain string or an integer. @throws `TEMPLATE_UNSUPPORTED` */
export function toKey(value: Value): string | number {
  if (typeof value === 'string' || typeof value === 'number') return value;
  if (value instanceof Float && Number.isSafeInteger(value.value)) return value.value;
  throw unsupported(
    value instanceof Rope ? 'uses message text as a key' : 'uses a key that is neither a string nor an integer',
  );
}

/** Looks up a key in a dict. Message text is compared with each key. A key with an undefined value is `found` too. */
export function lookup(dict: Dict, key: Value, render: Render): { readonly found: boolean; readonly value: Value } {
  const { budget } = render;
  if (key instanceof Rope) {
    for (const [name, value] of dict.entries) {
      budget.spend(1);
      if (typeof name === 'string' && equalTexts(name, key, budget)) return { found: true, value };
    }
    return { found: false, value: undefined };
  }
  if (key instanceof List || key instanceof Dict) throw unsupported('uses a list or a dict as a key');
  const plain = toNumber(key) ?? key;
  if (typeof plain === 'string') budget.walk(plain.length); // hashing a new string reads the whole string
  if (typeof plain !== 'string' && typeof plain !== 'number') return { found: false, value: undefined };
  return { found: dict.entries.has(plain), value: dict.entries.get(plain) };
}

/** Returns the items of an iterable and marks a generator as consumed. @throws `TEMPLATE_UNSUPPORTED` */
export function iterate(value: Value, render: Render): readonly Value[] {
  const { budget } = render;
  if (value instanceof List) {
    if (value.kind === 'generator') {
      if (value.consumed === 'partly') throw unsupported('iterates a generator that was partly consumed');
      if (value.consumed === 'fully') return [];
      value.consumed = 'fully';
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
      ? 'iterates over the characters of message text'
      : 'iterates over a value that is not iterable',
  );
}
