/**
 * Filters of chat templates (`x | trim`).
 *
 * Trust:  the table is closed; an unknown name is refused, never looked up elsewhere.
 * Source: https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-filters; `tojson` is that of
 *         transformers
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import { parameters, requireText, requireWhole } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import { capitalize, changeCase, titleWords } from './case-mapping.ts';
import { join, methodOf } from './methods.ts';
import { order } from '../runtime/comparison.ts';
import { print, toJson } from './formatting.ts';
import type { Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import { applyTest, plainName } from './tests.ts';
import { charactersOf, countCharacters, indent, replace, strip } from './string-ops.ts';
import type { Arguments, Render, Value } from '../runtime/value.ts';
import { Dict, equal, Float, isDict, isText, iterate, List, lookUp, numeric, Safe, truth } from '../runtime/value.ts';

type Filter = (value: Value, args: Arguments, render: Render) => Value;

const maxIndent = 64;

/** What a filter of text is applied to. */
function asText(value: Value, render: Render): Str {
  if (value instanceof Safe) throw unsupported('changes text that is marked as safe');
  return print(value, render);
}

const isNone = (value: Value): value is undefined | null => value === undefined || value === null;

/** What `map`, `select` and their kind give: values that are gone through once. */
const once = (items: readonly Value[]) => new List([...items], 'once');

/** Strings in lower case, for filters that do not tell the cases apart. */
function folded(value: Value, render: Render): Value {
  return isText(value) ? changeCase(value, 'lower', render) : value;
}

/** A function that follows `a.b.0` through dicts and lists; without a path it gives the value itself. */
function attributeOf(path: Value, render: Render): (value: Value) => Value {
  if (isNone(path)) return (value) => value;
  if (typeof path !== 'string' && typeof path !== 'number')
    throw unsupported('asks for an attribute in an unknown way');
  const written = String(path);
  render.budget.spend(written.length);
  const names = written.split('.').map((name) => (/^\d+$/.test(name) ? Number(name) : name));
  return (value) => {
    let at = value;
    for (const name of names) {
      render.budget.spend(1);
      if (at === undefined) throw unsupported('asks something that is not defined for an attribute');
      if (at instanceof Dict) at = lookUp(at, name, render).value;
      else if (at instanceof List && typeof name === 'number' && at.kind !== 'view' && at.kind !== 'once')
        at = at.items[name];
      else at = undefined;
    }
    return at;
  };
}

/** Sorts by keys that are made once. */
function sortBy(items: readonly Value[], key: (item: Value) => Value, reverse: boolean, render: Render): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  return keyed.sort((a, b) => (reverse ? -1 : 1) * order(a.key, b.key, render)).map(({ item }) => item);
}

function sort(value: Value, args: Arguments, render: Render): List {
  const [reverse, exact, path] = parameters(args, ['reverse', 'case_sensitive', 'attribute']);
  if (typeof path === 'string' && path.includes(',')) throw unsupported('sorts by several attributes');
  const part = attributeOf(path, render);
  return new List(
    sortBy(
      iterate(value, render),
      (item) => (truth(exact) ? part(item) : folded(part(item), render)),
      truth(reverse),
      render,
    ),
  );
}

function dictsort(value: Value, args: Arguments, render: Render): List {
  const [exact, by = 'key', reverse] = parameters(args, ['case_sensitive', 'by', 'reverse']);
  if (!isDict(value) || (by !== 'key' && by !== 'value')) throw unsupported('sorts something that is no dict');
  render.budget.hold(3 * value.entries.size);
  const pairs = [...value.entries].map(([name, item]) => new List([name, item], 'tuple'));
  const key = (pair: Value) => {
    const part = pair instanceof List ? pair.items[by === 'value' ? 1 : 0] : undefined;
    return truth(exact) ? part : folded(part, render);
  };
  return new List(sortBy(pairs, key, truth(reverse), render));
}

/** The `tojson` of transformers: `json.dumps` with the letters as they are. */
function tojson(value: Value, args: Arguments, render: Render): Str {
  if (args.positional.length > 0) throw unsupported('passes arguments to tojson by their position');
  const [ascii, width, separators, sortKeys] = parameters(args, ['ensure_ascii', 'indent', 'separators', 'sort_keys']);
  let spaces: string | undefined;
  if (typeof width === 'string' && width.length <= maxIndent) spaces = width;
  else if (!isNone(width)) spaces = ' '.repeat(Math.max(0, Math.min(requireWhole(width), maxIndent)));
  if (!isNone(separators) && !(separators instanceof List && separators.items.length === 2))
    throw unsupported('writes JSON with separators of an unknown kind');
  const [item = spaces === undefined ? ', ' : ',', key = ': '] = separators instanceof List ? separators.items : [];
  if (typeof item !== 'string' || typeof key !== 'string')
    throw unsupported('writes JSON with separators of an unknown kind');
  return toJson(value, { indent: spaces, ascii: truth(ascii), sortKeys: truth(sortKeys), item, key }, render);
}

/** Python looks whether there is anything before it goes through it. */
const orNothing = (value: Value, render: Render): readonly Value[] => (truth(value) ? iterate(value, render) : []);

/** `select`, `reject` and their twins by attribute. */
function select(keep: boolean, byAttribute: boolean): Filter {
  return (value, args, render) => {
    const [path, ...others] = args.positional;
    if (byAttribute && path === undefined) throw unsupported('selects by no attribute');
    const part = byAttribute ? attributeOf(path, render) : (item: Value) => item;
    const [name, ...rest] = byAttribute ? others : args.positional;
    if (name === undefined && args.named.size > 0) throw unsupported('passes arguments in an unknown way');
    if (name !== undefined && typeof name !== 'string') throw unsupported('selects by a test that is not known');
    return once(
      orNothing(value, render).filter(
        (item) =>
          (name === undefined
            ? truth(part(item))
            : applyTest(name, part(item), { positional: rest, named: args.named }, render)) === keep,
      ),
    );
  };
}

function map(value: Value, args: Arguments, render: Render): List {
  const items = orNothing(value, render);
  if (args.positional.length === 0 && args.named.has('attribute')) {
    const [path, fallback] = parameters(args, ['attribute', 'default']);
    const part = attributeOf(path, render);
    return once(
      items.map((item) => {
        const found = part(item);
        return found === undefined ? fallback : found;
      }),
    );
  }
  const [name, ...rest] = args.positional;
  if (typeof name !== 'string') throw unsupported('maps by no filter');
  return once(items.map((item) => applyFilter(name, item, { positional: rest, named: args.named }, render)));
}

const decimal = /^[+-]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:[eE][+-]?\d+(?:_\d+)*)?$/;
const longestNumber = 64;

/** A number out of a text, as Python's `int` and `float` read it; `undefined` where they raise a `ValueError`. */
function readNumber(text: string): number | undefined {
  const plain = text.replace(/^[\t-\r\x1c- ]+|[\t-\r\x1c- ]+$/g, '');
  if (decimal.test(plain)) return Number(plain.replaceAll('_', ''));
  if (/^[+-]?(?:inf|infinity|nan)$/i.test(plain) || /[^\x00-\x7f]/.test(plain))
    throw unsupported('reads a number in an unusual form');
  return undefined;
}

function toNumber(whole: boolean): Filter {
  return (value, args, render) => {
    const [fallback = whole ? 0 : new Float(0), base] = parameters(args, whole ? ['default', 'base'] : ['default']);
    if (base !== undefined && base !== 10) throw unsupported('reads a number with another base');
    if (value instanceof Rope) throw unsupported('reads a number from text of a message');
    if (value === undefined) throw unsupported('reads a number from something that is not defined');
    if (typeof value === 'string' && value.length > longestNumber) throw unsupported('reads a number from a long text');
    render.budget.spend(1);
    const known = typeof value === 'string' ? readNumber(value) : numeric(value);
    if (known === undefined) return fallback;
    if (!Number.isFinite(known) || (whole && !Number.isSafeInteger(Math.trunc(known))))
      throw unsupported('reads a number that is too large');
    return whole ? Math.trunc(known) + 0 : new Float(known);
  };
}

function length(value: Value, args: Arguments, render: Render): number {
  parameters(args, []);
  if (isText(value)) return countCharacters(value, render.budget);
  if (value instanceof List && value.kind !== 'once') return value.items.length;
  if (isDict(value)) return value.entries.size;
  if (value === undefined) return 0;
  throw unsupported('asks for the length of something that has none');
}

function unique(value: Value, args: Arguments, render: Render): List {
  const [exact, path] = parameters(args, ['case_sensitive', 'attribute']);
  const part = attributeOf(path, render);
  const seen: Value[] = [];
  const found: Value[] = [];
  for (const item of iterate(value, render)) {
    const key = truth(exact) ? part(item) : folded(part(item), render);
    if (key instanceof List || key instanceof Dict) throw unsupported('tells lists or dicts apart');
    if (seen.some((other) => equal(other, key, render))) continue;
    seen.push(key);
    found.push(item);
  }
  return once(found);
}

function indented(value: Value, args: Arguments, render: Render): Str {
  const [width = 4, first, blank] = parameters(args, ['width', 'first', 'blank']);
  const margin = isText(width)
    ? width
    : ' '.repeat(Math.max(0, requireWhole(width)) > maxIndent ? tooWide() : Math.max(0, requireWhole(width)));
  return indent(requireText(value), margin, truth(first), truth(blank), render.budget);
}

function tooWide(): never {
  throw unsupported(`indents by more than ${maxIndent} spaces`);
}

/** The least or the greatest item; none of an empty list. */
function extreme(direction: -1 | 1): Filter {
  return (value, args, render) => {
    const [exact, path] = parameters(args, ['case_sensitive', 'attribute']);
    const part = attributeOf(path, render);
    const key = (item: Value) => (truth(exact) ? part(item) : folded(part(item), render));
    const [first, ...rest] = iterate(value, render);
    let best = first;
    let bestKey = rest.length > 0 ? key(first) : undefined;
    for (const item of rest) {
      const own = key(item);
      if (order(own, bestKey, render) * direction <= 0) continue;
      best = item;
      bestKey = own;
    }
    return best;
  };
}

function reverse(value: Value, args: Arguments, render: Render): Value {
  parameters(args, []);
  if (isText(value)) return Rope.concat(charactersOf(value, render.budget).toReversed(), render.budget);
  return once(iterate(value, render).toReversed());
}

function joined(value: Value, args: Arguments, render: Render): Str {
  const [separator = '', path] = parameters(args, ['d', 'attribute']);
  const part = attributeOf(path, render);
  return join(
    iterate(value, render).map((item) => print(part(item), render)),
    print(separator, render),
    render,
  );
}

function fallback(value: Value, args: Arguments): Value {
  const [other = '', any] = parameters(args, ['default_value', 'boolean']);
  return value === undefined || (truth(any) && !truth(value)) ? other : value;
}

/** A filter of text without arguments, which takes what it is given as text. */
const ofText =
  (change: (text: Str, render: Render) => Value): Filter =>
  (value, args, render) => {
    parameters(args, []);
    return change(asText(value, render), render);
  };

/** The first or the last value; what is gone through once has no last, and is used in part. */
function atEnd(place: 0 | -1): Filter {
  return (value, args, render) => {
    parameters(args, []);
    if (place === -1 && value instanceof List && value.kind === 'once')
      throw unsupported('asks for the last of values that are gone through once');
    const found = iterate(value, render).at(place);
    if (value instanceof List && value.kind === 'once') value.used = 'partly';
    return found;
  };
}

function abs(value: Value, args: Arguments): Value {
  parameters(args, []);
  const number = numeric(value);
  if (number === undefined) throw unsupported('takes the absolute value of something that is no number');
  return value instanceof Float ? new Float(Math.abs(number)) : Math.abs(number);
}

/** `items`, and two that Jinja has not and other engines have. */
function ofDict(name: string): Filter {
  return (value, args, render) => {
    parameters(args, []);
    if (value === undefined) return once([]);
    if (!isDict(value)) throw unsupported('takes the items of something that is no dict');
    return once(iterate(methodOf(value, name, render)?.call(args), render));
  };
}

const filters = new Map<string, Filter>([
  ['upper', ofText((text, render) => changeCase(text, 'upper', render))],
  ['lower', ofText((text, render) => changeCase(text, 'lower', render))],
  ['capitalize', ofText(capitalize)],
  ['title', ofText(titleWords)],
  [
    'safe',
    (value, args, render) => {
      parameters(args, []);
      return new Safe(print(value, render));
    },
  ],
  [
    'string',
    (value, args, render) => {
      parameters(args, []);
      return value instanceof Safe ? value : print(value, render);
    },
  ],
  ['tojson', tojson],
  [
    'trim',
    (value, args, render) => {
      const [chars] = parameters(args, ['chars']);
      return strip(asText(value, render), 'both', isNone(chars) ? null : requireText(chars), render.budget);
    },
  ],
  ['length', length],
  ['count', length],
  ['default', fallback],
  ['d', fallback],
  ['join', joined],
  [
    'replace',
    (value, args, render) => {
      const [old, by, most] = parameters(args, ['old', 'new', 'count'], 2);
      return replace(
        asText(value, render),
        print(old, render),
        print(by, render),
        isNone(most) ? -1 : requireWhole(most),
        render.budget,
      );
    },
  ],
  ['indent', indented],
  [
    'list',
    (value, args, render) => {
      parameters(args, []);
      return new List([...iterate(value, render)]);
    },
  ],
  ['first', atEnd(0)],
  ['last', atEnd(-1)],
  ['reverse', reverse],
  ['sort', sort],
  ['dictsort', dictsort],
  ['unique', unique],
  ['select', select(true, false)],
  ['reject', select(false, false)],
  ['selectattr', select(true, true)],
  ['rejectattr', select(false, true)],
  ['map', map],
  ['int', toNumber(true)],
  ['float', toNumber(false)],
  ['abs', abs],
  ['min', extreme(-1)],
  ['max', extreme(1)],
  ['items', ofDict('items')],
  ['keys', ofDict('keys')],
  ['values', ofDict('values')],
]);

/** Applies a filter by its name. @throws `TEMPLATE_UNSUPPORTED` for a name that is not known. */
export function applyFilter(name: string, value: Value, args: Arguments, render: Render): Value {
  const filter = filters.get(name);
  if (filter === undefined) throw unsupported(`uses the filter ${plainName(name)}`);
  render.budget.hold(1);
  // A filter may copy its arguments, and `map` applies one to each item.
  render.budget.spend(args.positional.length + args.named.size);
  return filter(value, args, render);
}

/** Names of all filters, for the test that measures them. */
export const filterNames: readonly string[] = [...filters.keys()];
