/**
 * The values of a chat template: nothing but these, so a template reaches no object, prototype or function of ours.
 *
 * Promise: attributes are looked up in maps that hold what was put there and nothing else.
 * Source:  https://docs.python.org/3/library/stdtypes.html (what Jinja's values are)
 * Proof:   test/unit/engine/jinja.test.ts
 * @module
 */
import { RequestError } from './request.ts';
import type { Budget, Str } from './rope.ts';
import { equalText, Rope, unsupported } from './rope.ts';
import { quote } from './text.ts';

/** A number that Python would print with a point. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A list or a tuple. */
export class List {
  readonly items: Value[];
  constructor(items: Value[]) {
    this.items = items;
  }
}

/** A dict, or a namespace, whose attributes a template may set. */
export class Dict {
  readonly entries: Map<string | number, Value>;
  readonly isNamespace: boolean;
  constructor(entries: Iterable<readonly [string | number, Value]> = [], isNamespace = false) {
    this.entries = new Map(entries);
    this.isNamespace = isNamespace;
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
export type Value = undefined | null | boolean | number | Float | Str | List | Dict | Callable;

/** The state that one render shares: its costs, and new bytes to overwrite in the end. */
export type Render = { readonly budget: Budget; readonly own: (bytes: Buffer) => void };

const maxNesting = 64;

const tooDeep = () => new RequestError('TEMPLATE_LIMIT', "the model's chat template nests values too deep");

export const isText = (value: Value): value is Str => typeof value === 'string' || value instanceof Rope;

/** What Python takes for true. */
export function truth(value: Value): boolean {
  if (value instanceof List) return value.items.length > 0;
  if (value instanceof Dict) return value.isNamespace || value.entries.size > 0;
  if (value instanceof Float) return value.value !== 0;
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
  if (a instanceof List && b instanceof List) return a.items.length === b.items.length && a.items.every((item, i) => equal(item, b.items[i], render, depth + 1));
  if (a instanceof Dict && b instanceof Dict) {
    return a.entries.size === b.entries.size && [...a.entries].every(([key, item]) => b.entries.has(key) && equal(item, b.entries.get(key), render, depth + 1));
  }
  return a === b;
}

/** A key as dicts have them: a plain string or a whole number. */
export function keyOf(value: Value): string | number {
  if (typeof value === 'string' || typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  throw unsupported(value instanceof Rope ? 'uses text of a message as a name' : 'uses something else than a string or a number as a key');
}

/** The value under a key; text of a message is compared with each. */
export function lookUp(dict: Dict, key: Value, render: Render): Value {
  if (!(key instanceof Rope)) return key === undefined || key === null ? undefined : dict.entries.get(keyOf(key));
  for (const [name, value] of dict.entries) if (typeof name === 'string' && equalText(name, key, render.budget)) return value;
  return undefined;
}

/** How `tojson` writes. */
export type JsonStyle = { readonly indent: number; readonly ascii: boolean; readonly sortKeys: boolean; readonly item: string; readonly key: string };
export const plainJson: JsonStyle = { indent: 0, ascii: false, sortKeys: false, item: ', ', key: ': ' };

/** A number as Python prints it. */
function printNumber(value: number | Float): string {
  if (typeof value === 'number') return String(value);
  return Number.isInteger(value.value) ? value.value.toFixed(1) : String(value.value);
}

/** A value as JSON, as Python's `json.dumps` lays it out. */
export function toJson(value: Value, style: JsonStyle, render: Render, depth = 0): Str {
  const { budget } = render;
  budget.spend(1);
  if (depth > maxNesting) throw tooDeep();
  if (isText(value)) return quote(value, style.ascii, budget, render.own);
  if (value === undefined || value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'number' || value instanceof Float) return printNumber(value);
  if (value instanceof Callable) throw unsupported('writes a function as JSON');
  const isList = value instanceof List;
  const items: Str[] = isList
    ? value.items.map((item) => toJson(item, style, render, depth + 1))
    : sorted([...value.entries], style.sortKeys).map(([key, item]) => Rope.concat([quote(String(key), style.ascii, budget, render.own), style.key, toJson(item, style, render, depth + 1)], budget));
  const [open, close] = isList ? ['[', ']'] : ['{', '}'];
  if (items.length === 0) return open + close;
  const margin = style.indent > 0 ? `\n${' '.repeat(style.indent * (depth + 1))}` : '';
  const parts: Str[] = [open];
  items.forEach((item, i) => parts.push(i > 0 ? style.item : '', margin, item));
  parts.push(style.indent > 0 ? `\n${' '.repeat(style.indent * depth)}` : '', close);
  return Rope.concat(parts, budget);
}

function sorted(entries: [string | number, Value][], sort: boolean): [string | number, Value][] {
  return sort ? entries.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)) : entries;
}

/** A value as `{{ }}` prints it; lists and dicts as JSON. */
export function print(value: Value, render: Render): Str {
  if (isText(value)) return value;
  if (value === undefined) return '';
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number' || value instanceof Float) return printNumber(value);
  if (value instanceof Callable) throw unsupported('prints a function');
  return toJson(value, plainJson, render);
}

/** The items that a loop or a filter goes through. */
export function iterate(value: Value, render: Render): readonly Value[] {
  if (value instanceof List) {
    render.budget.spend(value.items.length);
    return value.items;
  }
  if (value instanceof Dict && !value.isNamespace) {
    render.budget.spend(value.entries.size);
    return [...value.entries.keys()];
  }
  if (typeof value === 'string') {
    render.budget.spend(value.length);
    return Array.from(value);
  }
  // Python refuses None here; templates for tools go through `tools`, which is None without any.
  if (value === undefined || value === null) return [];
  throw unsupported(value instanceof Rope ? 'goes through text of a message letter by letter' : 'goes through something that is no list');
}
