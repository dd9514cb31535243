/**
 * Filters (`x | trim`) and tests (`x is defined`) of chat templates.
 *
 * Trust:  the tables are closed; an unknown name is refused, never looked up elsewhere.
 * Source: https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-filters
 * Proof:  test/unit/engine/jinja.test.ts
 * @module
 */
import { argument, join, letterCases, methodOf } from './method.ts';
import type { Str } from './rope.ts';
import { occurrences, Rope, unsupported } from './rope.ts';
import { countCharacters, indent, replace, strip } from './text.ts';
import type { Arguments, Render, Value } from './value.ts';
import { Callable, Dict, equal, Float, isText, iterate, List, lookUp, numeric, plainJson, print, toJson, truth } from './value.ts';

type Filter = (value: Value, args: Arguments, render: Render) => Value;
type Test = (value: Value, against: Value, render: Render) => boolean;

const maxIndent = 64;

function requireText(value: Value): Str {
  if (isText(value)) return value;
  throw unsupported('applies a filter of text to something else');
}

/** Orders plain values; text of a message has no order here. */
function compare(a: Value, b: Value): number {
  if (a instanceof Rope || b instanceof Rope) throw unsupported('sorts or compares text of messages');
  const x = numeric(a);
  const y = numeric(b);
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a !== 'string' || typeof b !== 'string') throw unsupported('compares values of different kinds');
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether the first value is below (-1), above (1) or level with (0) the second. */
export const order = compare;

const folded = (value: Value): Value => (typeof value === 'string' ? value.toLowerCase() : value);

/** Follows `a.b.0` through dicts and lists. */
function attribute(value: Value, path: Value, render: Render): Value {
  let at = value;
  for (const name of String(typeof path === 'string' || typeof path === 'number' ? path : '').split('.')) {
    if (at instanceof Dict) at = lookUp(at, name, render);
    else if (at instanceof List) at = at.items[Number(name)];
    else return undefined;
  }
  return at;
}

function sort(value: Value, args: Arguments, render: Render): List {
  const reverse = truth(argument(args, 0, 'reverse'));
  const exact = truth(argument(args, 1, 'case_sensitive'));
  const path = argument(args, 2, 'attribute');
  const items = [...iterate(value, render)];
  render.budget.spend(items.length * 16);
  const key = (item: Value) => {
    const part = path === undefined || path === null ? item : attribute(item, path, render);
    return exact ? part : folded(part);
  };
  return new List(items.sort((a, b) => (reverse ? -1 : 1) * compare(key(a), key(b))));
}

function dictsort(value: Value, args: Arguments, render: Render): List {
  if (!(value instanceof Dict)) throw unsupported('sorts something that is no dict');
  const exact = truth(argument(args, 0, 'case_sensitive'));
  const at = argument(args, 1, 'by') === 'value' ? 1 : 0;
  const reverse = truth(argument(args, 2, 'reverse'));
  render.budget.spend(value.entries.size * 16);
  const key = (pair: List) => (exact ? pair.items[at] : folded(pair.items[at]));
  return new List([...value.entries].map(([name, item]) => new List([name, item])).sort((a, b) => (reverse ? -1 : 1) * compare(key(a), key(b))));
}

function tojson(value: Value, args: Arguments, render: Render): Str {
  const width = argument(args, 0, 'indent');
  const separators = args.named.get('separators');
  const [item, key] = separators instanceof List ? separators.items : [];
  const spaces = typeof width === 'number' ? Math.max(0, Math.min(width, maxIndent)) : 0;
  return toJson(value, {
    indent: spaces,
    ascii: truth(args.named.get('ensure_ascii')),
    sortKeys: truth(args.named.get('sort_keys')),
    item: typeof item === 'string' ? item : spaces > 0 ? ',' : plainJson.item,
    key: typeof key === 'string' ? key : plainJson.key,
  }, render);
}

/** `select`, `reject` and their twins by attribute. */
function select(keep: boolean, byAttribute: boolean): Filter {
  return (value, args, render) => {
    const rest = byAttribute ? args.positional.slice(1) : args.positional;
    const name = rest[0];
    const test = name === undefined ? undefined : tests.get(typeof name === 'string' ? name : '');
    if (name !== undefined && test === undefined) throw unsupported('selects by a test that is not known');
    return new List(
      iterate(value, render).filter((item) => {
        const part = byAttribute ? attribute(item, args.positional[0], render) : item;
        return (test === undefined ? truth(part) : test(part, rest[1], render)) === keep;
      }),
    );
  };
}

function map(value: Value, args: Arguments, render: Render): List {
  const path = args.named.get('attribute');
  const items = iterate(value, render);
  if (path !== undefined) return new List(items.map((item) => attribute(item, path, render) ?? args.named.get('default')));
  const [name, ...rest] = args.positional;
  return new List(items.map((item) => applyFilter(typeof name === 'string' ? name : '', item, { positional: rest, named: args.named }, render)));
}

function toNumber(value: Value, args: Arguments, whole: boolean): Value {
  if (value instanceof Rope) throw unsupported('reads a number from text of a message');
  const known = typeof value === 'string' && value.length < 64 && /^\s*[-+]?\d+(\.\d*)?\s*$/.test(value) ? Number(value) : numeric(value);
  if (known === undefined) return argument(args, 0, 'default') ?? (whole ? 0 : new Float(0));
  return whole ? Math.trunc(known) : new Float(known);
}

function length(value: Value, render: Render): number {
  if (isText(value)) return countCharacters(value, render.budget);
  if (value instanceof List) return value.items.length;
  if (value instanceof Dict) return value.entries.size;
  if (value === undefined) return 0;
  throw unsupported('asks for the length of something that has none');
}

function unique(value: Value, render: Render): List {
  const found: Value[] = [];
  for (const item of iterate(value, render)) if (!found.some((other) => equal(other, item, render))) found.push(item);
  return new List(found);
}

function indented(value: Value, args: Arguments, render: Render): Str {
  const width = argument(args, 0, 'width') ?? 4;
  const margin = typeof width === 'number' ? ' '.repeat(Math.max(0, Math.min(width, maxIndent))) : requireText(width);
  return indent(requireText(value), margin, truth(argument(args, 1, 'first')), truth(argument(args, 2, 'blank')), render.budget);
}

/** The least or the greatest item; none of an empty list. */
function extreme(value: Value, direction: -1 | 1, render: Render): Value {
  const [first, ...rest] = iterate(value, render);
  return rest.reduce((best, item) => (compare(item, best) * direction > 0 ? item : best), first);
}

const asText: Filter = (value, _args, render) => print(value, render);
const size: Filter = (value, _args, render) => length(value, render);
const fallback: Filter = (value, args) => (value === undefined || (truth(argument(args, 1, 'boolean')) && !truth(value)) ? (argument(args, 0, 'default_value') ?? '') : value);

const filters = new Map<string, Filter>([
  ...[...letterCases].map(([name, change]) => [name, (value: Value, _args: Arguments, render: Render) => change(requireText(value), render)] as const),
  ['safe', (value) => value],
  ['string', asText],
  ['tojson', tojson],
  ['trim', (value, args, render) => {
    const chars = argument(args, 0, 'chars');
    return strip(print(value, render), 'both', isText(chars) ? chars : null, render.budget);
  }],
  ['length', size],
  ['count', size],
  ['default', fallback],
  ['d', fallback],
  ['join', (value, args, render) => {
    const path = argument(args, 1, 'attribute');
    const items = iterate(value, render);
    const list = new List(path === undefined ? [...items] : items.map((item) => attribute(item, path, render)));
    return join(list, requireText(argument(args, 0, 'd') ?? args.named.get('separator') ?? ''), render);
  }],
  ['replace', (value, args, render) => {
    const most = argument(args, 2, 'count');
    return replace(requireText(value), requireText(argument(args, 0, 'old')), requireText(argument(args, 1, 'new')), typeof most === 'number' ? most : -1, render.budget);
  }],
  ['indent', indented],
  ['list', (value, _args, render) => new List([...iterate(value, render)])],
  ['first', (value, _args, render) => iterate(value, render)[0]],
  ['last', (value, _args, render) => iterate(value, render).at(-1)],
  ['reverse', (value, _args, render) => new List(iterate(value, render).toReversed())],
  ['sort', sort],
  ['dictsort', dictsort],
  ['unique', (value, _args, render) => unique(value, render)],
  ['select', select(true, false)],
  ['reject', select(false, false)],
  ['selectattr', select(true, true)],
  ['rejectattr', select(false, true)],
  ['map', map],
  ['int', (value, args) => toNumber(value, args, true)],
  ['float', (value, args) => toNumber(value, args, false)],
  ['abs', (value) => (value instanceof Float ? new Float(Math.abs(value.value)) : Math.abs(numeric(value) ?? 0))],
  ['min', (value, _args, render) => extreme(value, -1, render)],
  ['max', (value, _args, render) => extreme(value, 1, render)],
  ...['items', 'keys', 'values'].map((name): [string, Filter] => [name, (value, args, render) => {
    if (value === undefined) return new List([]);
    const method = methodOf(value, name, render);
    if (method === undefined) throw unsupported('takes the items of something that is no dict');
    return method.call(args);
  }]),
]);

const same: Test = (value, against, render) => equal(value, against, render);

const tests = new Map<string, Test>([
  ['defined', (value) => value !== undefined],
  ['undefined', (value) => value === undefined],
  ['none', (value) => value === null],
  ['string', (value) => isText(value)],
  ['mapping', (value) => value instanceof Dict && !value.isNamespace],
  ['sequence', (value) => isText(value) || value instanceof List || (value instanceof Dict && !value.isNamespace)],
  ['iterable', (value) => isText(value) || value instanceof List || (value instanceof Dict && !value.isNamespace)],
  ['number', (value) => typeof value === 'number' || typeof value === 'boolean' || value instanceof Float],
  ['integer', (value) => typeof value === 'number'],
  ['float', (value) => value instanceof Float],
  ['boolean', (value) => typeof value === 'boolean'],
  ['true', (value) => value === true],
  ['false', (value) => value === false],
  ['odd', (value) => typeof value === 'number' && value % 2 !== 0],
  ['even', (value) => typeof value === 'number' && value % 2 === 0],
  ['callable', (value) => value instanceof Callable],
  ['upper', (value, _against, render) => isText(value) && equal(letterCases.get('upper')?.(value, render), value, render)],
  ['lower', (value, _against, render) => isText(value) && equal(letterCases.get('lower')?.(value, render), value, render)],
  ['in', (value, against, render) => contains(against, value, render)],
  ...['eq', 'equalto', '=='].map((name): [string, Test] => [name, same]),
  ...['ne', '!='].map((name): [string, Test] => [name, (value, against, render) => !equal(value, against, render)]),
  ...['gt', 'greaterthan', '>'].map((name): [string, Test] => [name, (value, against) => compare(value, against) > 0]),
  ...['lt', 'lessthan', '<'].map((name): [string, Test] => [name, (value, against) => compare(value, against) < 0]),
]);

/** Python's `needle in value`. */
export function contains(value: Value, needle: Value, render: Render): boolean {
  if (value === undefined) return false;
  if (isText(value)) {
    if (!isText(needle)) throw unsupported('looks for something that is no text in a text');
    if (typeof value === 'string' && typeof needle === 'string') return value.includes(needle);
    return needle === '' || occurrences(Rope.from(value), needle, render.budget, 1).length > 0;
  }
  if (value instanceof List) return value.items.some((item) => equal(item, needle, render));
  if (value instanceof Dict) return lookUp(value, needle, render) !== undefined || (typeof needle === 'string' && value.entries.has(needle));
  throw unsupported('looks into something that holds nothing');
}

/** A name as the error shows it; a template's names are words, and anything else is not shown. */
const plainName = (name: string) => (/^\w{1,40}$/.test(name) ? name : 'of another kind');

/** Applies a filter by its name. @throws `TEMPLATE_UNSUPPORTED` for a name that is not known. */
export function applyFilter(name: string, value: Value, args: Arguments, render: Render): Value {
  const filter = filters.get(name);
  if (filter === undefined) throw unsupported(`uses the filter ${plainName(name)}`);
  return filter(value, args, render);
}

/** Applies a test by its name. @throws `TEMPLATE_UNSUPPORTED` for a name that is not known. */
export function applyTest(name: string, value: Value, render: Render): boolean {
  const test = tests.get(name);
  if (test === undefined) throw unsupported(`uses the test ${plainName(name)}`);
  return test(value, undefined, render);
}
