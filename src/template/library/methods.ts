/**
 * Methods of strings, lists and dicts that templates call: the part of Python's that chat templates use.
 *
 * Trust:  the table is closed; a name that is not in it does not exist, and one that Python has and we have not is
 *         refused.
 * Limits: `append` and `pop`, which transformers refuses, work as in Python.
 * Source: https://docs.python.org/3/library/stdtypes.html
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import { parameters, requirePlain, requireText, requireWhole } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import { capitalize, changeCase, hasCase, title } from './case-mapping.ts';
import { print } from './formatting.ts';
import type { Str } from '../runtime/rope.ts';
import { occurrences, Rope } from '../runtime/rope.ts';
import { countCharacters, hasEdge, replace, split, splitLines, strip } from './string-ops.ts';
import type { Arguments, Render, Value } from '../runtime/value.ts';
import { Callable, Dict, equal, isDict, isText, iterate, keyOf, List, lookUp } from '../runtime/value.ts';

type Method<T> = (self: T, args: Arguments, render: Render) => Value;

function edge(self: Str, args: Arguments, side: 'start' | 'end', render: Render): boolean {
  const [wanted] = parameters(args, [''], 1);
  if (wanted instanceof List && wanted.kind === 'tuple')
    return wanted.items.some((item) => hasEdge(self, requireText(item), side, render.budget));
  return hasEdge(self, requireText(wanted), side, render.budget);
}

/** Takes a text off one end. */
function remove(self: Str, args: Arguments, side: 'start' | 'end', { budget }: Render): Str {
  const wanted = requireText(parameters(args, [''], 1)[0]);
  if (!hasEdge(self, wanted, side, budget)) return self;
  const rope = Rope.from(self, budget);
  const { length } = Rope.from(wanted, budget);
  return side === 'start' ? rope.slice(length, rope.length, budget) : rope.slice(0, rope.length - length, budget);
}

/** `'a {} b'.format(x)`: numbered and plain fields only. */
function format(self: Str, args: Arguments, render: Render): Str {
  const pattern = requirePlain(self, 'formats');
  if (args.named.size > 0) throw unsupported('formats with named fields');
  render.budget.each(pattern.length * 2);
  let next = 0;
  let numbered = false;
  const parts: Str[] = [];
  for (const piece of pattern.split(/(\{\{|\}\}|\{\d*\})/)) {
    const field = /^\{(\d*)\}$/.exec(piece);
    if (field !== null) {
      numbered ||= field[1] !== '';
      const at = field[1] === '' ? next++ : Number(field[1]);
      if ((numbered && next > 0) || at >= args.positional.length)
        throw unsupported('formats with fields that are not there');
      parts.push(print(args.positional[at], render));
    } else if (piece === '{{' || piece === '}}') parts.push(piece.charAt(0));
    else if (/[{}]/.test(piece)) throw unsupported('formats with named fields');
    else parts.push(piece);
  }
  return Rope.concat(parts, render.budget);
}

function isDigit(self: Str, { budget }: Render): boolean {
  const plain = requirePlain(self, 'looks for digits in');
  budget.each(plain.length);
  if (/^\p{Nd}+$/u.test(plain)) return true;
  if (/\p{No}/u.test(plain)) throw unsupported('looks for digits of an unusual kind');
  return false;
}

function find(self: Str, args: Arguments, { budget }: Render): number {
  const wanted = requireText(parameters(args, [''], 1)[0]);
  if (wanted.length === 0) return 0;
  const rope = Rope.from(self, budget);
  const [place] = occurrences(rope, wanted, budget, 1);
  return place === undefined ? -1 : countCharacters(rope.slice(0, place, budget), budget);
}

function count(self: Str, args: Arguments, { budget }: Render): number {
  const wanted = requireText(parameters(args, [''], 1)[0]);
  return wanted.length === 0
    ? countCharacters(self, budget) + 1
    : occurrences(Rope.from(self, budget), wanted, budget).length;
}

/** The separator and the most cuts of `split`. */
function cuts(args: Arguments): [Str | null, number] {
  const [separator, most] = parameters(args, ['sep', 'maxsplit']);
  return [
    separator === undefined || separator === null ? null : requireText(separator),
    most === undefined ? -1 : requireWhole(most),
  ];
}

const plainMethod =
  (change: (self: Str, render: Render) => Value): Method<Str> =>
  (self, args, render) => {
    parameters(args, []);
    return change(self, render);
  };

const stripMethod =
  (sides: 'both' | 'left' | 'right'): Method<Str> =>
  (self, args, { budget }) => {
    const [chars] = parameters(args, ['']);
    return strip(self, sides, chars === undefined || chars === null ? null : requireText(chars), budget);
  };

const textMethods = new Map<string, Method<Str>>([
  ['upper', plainMethod((self, render) => changeCase(self, 'upper', render))],
  ['lower', plainMethod((self, render) => changeCase(self, 'lower', render))],
  ['capitalize', plainMethod(capitalize)],
  ['title', plainMethod(title)],
  ['islower', plainMethod((self, render) => hasCase(self, 'lower', render))],
  ['isupper', plainMethod((self, render) => hasCase(self, 'upper', render))],
  ['isdigit', plainMethod(isDigit)],
  ['splitlines', plainMethod((self, { budget }) => new List(splitLines(self, budget)))],
  ['strip', stripMethod('both')],
  ['lstrip', stripMethod('left')],
  ['rstrip', stripMethod('right')],
  [
    'split',
    (self, args, { budget }) => {
      const [separator, most] = cuts(args);
      return new List(split(self, separator, most, false, budget));
    },
  ],
  [
    'rsplit',
    (self, args, { budget }) => {
      const [separator, most] = cuts(args);
      if (separator === null && most >= 0) throw unsupported('splits at white space from behind');
      return new List(split(self, separator, most, true, budget));
    },
  ],
  ['startswith', (self, args, render) => edge(self, args, 'start', render)],
  ['endswith', (self, args, render) => edge(self, args, 'end', render)],
  ['removeprefix', (self, args, render) => remove(self, args, 'start', render)],
  ['removesuffix', (self, args, render) => remove(self, args, 'end', render)],
  [
    'replace',
    (self, args, { budget }) => {
      const [old, by, most] = parameters(args, ['', '', 'count'], 2);
      return replace(self, requireText(old), requireText(by), most === undefined ? -1 : requireWhole(most), budget);
    },
  ],
  ['find', find],
  ['count', count],
  [
    'join',
    (self, args, render) => {
      const items = iterate(parameters(args, [''], 1)[0], render);
      return join(items.map(requireText), self, render);
    },
  ],
  ['format', format],
]);

/** Joins texts with a separator between them. */
export function join(items: readonly Str[], separator: Str, { budget }: Render): Str {
  const separators = Math.max(0, items.length - 1);
  budget.bytes(separators * separator.length);
  return Rope.concat(
    items.flatMap((item, i) => (i > 0 ? [separator, item] : [item])),
    budget,
  );
}

const dictMethods = new Map<string, Method<Dict>>([
  [
    'get',
    (self, args, render) => {
      const [key, fallback] = parameters(args, ['', ''], 1);
      const { found, value } = lookUp(self, key, render);
      if (found) return value;
      return args.positional.length > 1 ? fallback : null;
    },
  ],
  [
    'items',
    (self, args, { budget }) => {
      parameters(args, []);
      budget.hold(2 + 2 * self.entries.size);
      return new List(
        [...self.entries].map(([key, value]) => new List([key, value], 'tuple')),
        'view',
      );
    },
  ],
  [
    'keys',
    (self, args, { budget }) => {
      parameters(args, []);
      budget.spend(self.entries.size);
      return new List([...self.entries.keys()], 'view');
    },
  ],
  [
    'values',
    (self, args, { budget }) => {
      parameters(args, []);
      budget.spend(self.entries.size);
      return new List([...self.entries.values()], 'view');
    },
  ],
  [
    'copy',
    (self, args, { budget }) => {
      parameters(args, []);
      budget.hold(4 + 2 * self.entries.size);
      return new Dict(self.entries);
    },
  ],
  [
    'pop',
    (self, args, render) => {
      const [key, fallback] = parameters(args, ['', ''], 1);
      const { found, value } = lookUp(self, key, render);
      if (!found && args.positional.length < 2) throw unsupported('takes something out of a dict that is not in it');
      if (found) self.entries.delete(keyOf(key));
      return found ? value : fallback;
    },
  ],
]);

/** Changes a list that is one of its own. */
function changeable(self: List): Value[] {
  if (self.kind !== 'list') throw unsupported('changes something that is no list');
  return self.items;
}

const listMethods = new Map<string, Method<List>>([
  [
    'append',
    (self, args) => {
      changeable(self).push(parameters(args, [''], 1)[0]);
      return null;
    },
  ],
  [
    'pop',
    (self, args, { budget }) => {
      const items = changeable(self);
      const [at = -1] = parameters(args, ['']);
      const place = requireWhole(at) < 0 ? items.length + requireWhole(at) : requireWhole(at);
      if (place < 0 || place >= items.length) throw unsupported('takes something out of a list that is not in it');
      budget.spend(items.length - place);
      return items.splice(place, 1)[0];
    },
  ],
  [
    'index',
    (self, args, render) => {
      const [wanted] = parameters(args, [''], 1);
      const place = self.items.findIndex((item) => equal(item, wanted, render));
      if (place < 0) throw unsupported('asks for the place of something that is not in a list');
      return place;
    },
  ],
  [
    'count',
    (self, args, render) => {
      const [wanted] = parameters(args, [''], 1);
      return self.items.filter((item) => equal(item, wanted, render)).length;
    },
  ],
]);

/** What Python has besides. */
const others = {
  text: new Set([
    'casefold',
    'center',
    'encode',
    'expandtabs',
    'format_map',
    'index',
    'isalnum',
    'isalpha',
    'isascii',
    'isdecimal',
    'isidentifier',
    'isnumeric',
    'isprintable',
    'isspace',
    'istitle',
    'ljust',
    'maketrans',
    'partition',
    'rfind',
    'rindex',
    'rjust',
    'rpartition',
    'swapcase',
    'translate',
    'zfill',
  ]),
  list: new Set(['clear', 'copy', 'extend', 'insert', 'remove', 'reverse', 'sort', 'start', 'stop', 'step', 'mapping']),
  dict: new Set(['clear', 'fromkeys', 'popitem', 'setdefault', 'update']),
} as const;

function bind<T>(
  methods: ReadonlyMap<string, Method<T>>,
  unknown: ReadonlySet<string>,
  self: T,
  name: string,
  render: Render,
): Callable | undefined {
  const method = methods.get(name);
  if (method !== undefined) {
    render.budget.hold(2);
    return new Callable((args) => {
      render.budget.hold(1);
      return method(self, args, render);
    });
  }
  if (unknown.has(name)) throw unsupported('uses a method that is not known');
  return undefined;
}

/**
 * The method of a value by its name, or `undefined`. @throws `TEMPLATE_UNSUPPORTED` for those of Python that are not
 * here
 */
export function methodOf(value: Value, name: string, render: Render): Callable | undefined {
  if (isText(value)) return bind(textMethods, others.text, value, name, render);
  if (value instanceof List) {
    if (value.kind === 'view' || value.kind === 'once') return undefined;
    return bind(listMethods, others.list, value, name, render);
  }
  return isDict(value) ? bind(dictMethods, others.dict, value, name, render) : undefined;
}

/** Names of all methods, for the test that measures them. */
export const methodNames = {
  text: [...textMethods.keys()],
  list: [...listMethods.keys()],
  dict: [...dictMethods.keys()],
} as const;
