/**
 * The chat template filters that work on sequences and dicts: sorting, selecting, mapping, joining.
 *
 * Limits: sorting by several attributes and comparing lists or dicts in `unique` are refused.
 * Source: https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-filters
 * Proof:  test/unit/template/evaluator.test.ts, test/unit/template/costs.test.ts
 * @module
 */
import type { Filter } from '../runtime/arguments.ts';
import { bindParameters } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import { changeCase } from './case-mapping.ts';
import { compareValues } from '../runtime/comparison.ts';
import { methodOf } from './methods.ts';
import { print } from './formatting.ts';
import type { Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import { applyTest } from './jinja-tests.ts';
import { charactersOf, join } from './string-ops.ts';
import type { Arguments, Render, Value } from '../runtime/value.ts';
import { Dict, equals, isDict, isNone, isText, isTruthy, iterate, List, lookup } from '../runtime/value.ts';

/** Wraps the result of `map`, `select` and similar filters. */
const generator = (items: readonly Value[]) => new List([...items], 'generator');

/** Lower-cases a text, for filters that ignore case. */
function caseFolded(value: Value, render: Render): Value {
  return isText(value) ? changeCase(value, 'lower', render) : value;
}

/** Returns a function that follows a path such as `a.b.0`, or the identity function if there is no path. */
function attributeGetter(path: Value, render: Render): (value: Value) => Value {
  if (isNone(path)) return (value) => value;
  if (typeof path !== 'string' && typeof path !== 'number')
    throw unsupported('names an attribute by a value that is neither a string nor a number');
  const written = String(path);
  render.budget.spend(written.length);
  const names = written.split('.').map((name) => (/^\d+$/.test(name) ? Number(name) : name));
  return (value) => {
    let at = value;
    for (const name of names) {
      render.budget.spend(1);
      if (at === undefined) throw unsupported('reads an attribute of an undefined value');
      if (at instanceof Dict) at = lookup(at, name, render).value;
      else if (at instanceof List && typeof name === 'number' && at.kind !== 'view' && at.kind !== 'generator')
        at = at.items[name];
      else at = undefined;
    }
    return at;
  };
}

/** Sorts by keys, each computed once. */
function sortBy(items: readonly Value[], key: (item: Value) => Value, reverse: boolean, render: Render): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  return keyed.sort((a, b) => (reverse ? -1 : 1) * compareValues(a.key, b.key, render)).map(({ item }) => item);
}

export function sortFilter(value: Value, args: Arguments, render: Render): List {
  const [reverse, exact, path] = bindParameters(args, ['reverse', 'case_sensitive', 'attribute']);
  if (typeof path === 'string' && path.includes(',')) throw unsupported('sorts by several attributes');
  const part = attributeGetter(path, render);
  return new List(
    sortBy(
      iterate(value, render),
      (item) => (isTruthy(exact) ? part(item) : caseFolded(part(item), render)),
      isTruthy(reverse),
      render,
    ),
  );
}

export function dictsortFilter(value: Value, args: Arguments, render: Render): List {
  const [exact, by = 'key', reverse] = bindParameters(args, ['case_sensitive', 'by', 'reverse']);
  if (!isDict(value) || (by !== 'key' && by !== 'value')) throw unsupported('calls dictsort with invalid arguments');
  render.budget.retain(3 * value.entries.size);
  const pairs = [...value.entries].map(([name, item]) => new List([name, item], 'tuple'));
  const key = (pair: Value) => {
    const part = pair instanceof List ? pair.items[by === 'value' ? 1 : 0] : undefined;
    return isTruthy(exact) ? part : caseFolded(part, render);
  };
  return new List(sortBy(pairs, key, isTruthy(reverse), render));
}

/** Returns the items of an iterable, or no items for a false value. */
const itemsOrEmpty = (value: Value, render: Render): readonly Value[] =>
  isTruthy(value) ? iterate(value, render) : [];

/** `select`, `reject`, `selectattr` and `rejectattr`. */
export function selectFilter(keep: boolean, byAttribute: boolean): Filter {
  return (value, args, render) => {
    const [path, ...others] = args.positional;
    if (byAttribute && path === undefined) throw unsupported('calls selectattr without an attribute');
    const part = byAttribute ? attributeGetter(path, render) : (item: Value) => item;
    const [name, ...rest] = byAttribute ? others : args.positional;
    if (name === undefined && args.named.size > 0) throw unsupported('passes unexpected arguments');
    if (name !== undefined && typeof name !== 'string')
      throw unsupported('selects by a test whose name is not a string');
    return generator(
      itemsOrEmpty(value, render).filter(
        (item) =>
          (name === undefined
            ? isTruthy(part(item))
            : applyTest(name, part(item), { positional: rest, named: args.named }, render)) === keep,
      ),
    );
  };
}

/**
 * `map` with an attribute or another filter.
 * @param applyFilter - applies a filter by its name
 */
export function mapFilter(
  value: Value,
  args: Arguments,
  render: Render,
  applyFilter: (name: string, value: Value, args: Arguments, render: Render) => Value,
): List {
  const items = itemsOrEmpty(value, render);
  if (args.positional.length === 0 && args.named.has('attribute')) {
    const [path, fallback] = bindParameters(args, ['attribute', 'default']);
    const part = attributeGetter(path, render);
    return generator(
      items.map((item) => {
        const found = part(item);
        return found === undefined ? fallback : found;
      }),
    );
  }
  const [name, ...rest] = args.positional;
  if (typeof name !== 'string') throw unsupported('calls map without a filter');
  return generator(items.map((item) => applyFilter(name, item, { positional: rest, named: args.named }, render)));
}

export function uniqueFilter(value: Value, args: Arguments, render: Render): List {
  const [exact, path] = bindParameters(args, ['case_sensitive', 'attribute']);
  const part = attributeGetter(path, render);
  const seen: Value[] = [];
  const found: Value[] = [];
  for (const item of iterate(value, render)) {
    const key = isTruthy(exact) ? part(item) : caseFolded(part(item), render);
    if (key instanceof List || key instanceof Dict) throw unsupported('calls unique on lists or dicts');
    if (seen.some((other) => equals(other, key, render))) continue;
    seen.push(key);
    found.push(item);
  }
  return generator(found);
}

/** `min` and `max`, which return undefined for an empty sequence. */
export function extremumFilter(direction: -1 | 1): Filter {
  return (value, args, render) => {
    const [exact, path] = bindParameters(args, ['case_sensitive', 'attribute']);
    const part = attributeGetter(path, render);
    const key = (item: Value) => (isTruthy(exact) ? part(item) : caseFolded(part(item), render));
    const [first, ...rest] = iterate(value, render);
    let best = first;
    let bestKey = rest.length > 0 ? key(first) : undefined;
    for (const item of rest) {
      const own = key(item);
      if (compareValues(own, bestKey, render) * direction <= 0) continue;
      best = item;
      bestKey = own;
    }
    return best;
  };
}

export function reverseFilter(value: Value, args: Arguments, render: Render): Value {
  bindParameters(args, []);
  if (isText(value)) return Rope.concat(charactersOf(value, render.budget).toReversed(), render.budget);
  return generator(iterate(value, render).toReversed());
}

export function joinFilter(value: Value, args: Arguments, render: Render): Str {
  const [separator = '', path] = bindParameters(args, ['d', 'attribute']);
  const part = attributeGetter(path, render);
  return join(
    iterate(value, render).map((item) => print(part(item), render)),
    print(separator, render),
    render.budget,
  );
}

/** `first` and `last`. `first` partly consumes a generator; `last` does not accept one. */
export function endFilter(place: 0 | -1): Filter {
  return (value, args, render) => {
    bindParameters(args, []);
    if (place === -1 && value instanceof List && value.kind === 'generator')
      throw unsupported('calls last on a generator');
    const found = iterate(value, render).at(place);
    if (value instanceof List && value.kind === 'generator') value.consumed = 'partly';
    return found;
  };
}

/** `items`, and also `keys` and `values`, which other template engines have but Jinja lacks. */
export function dictFilter(name: string): Filter {
  return (value, args, render) => {
    bindParameters(args, []);
    if (value === undefined) return generator([]);
    if (!isDict(value)) throw unsupported('lists the items of a value that is not a dict');
    return generator(iterate(methodOf(value, name, render)?.call(args), render));
  };
}
