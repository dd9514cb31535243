/**
 * Methods of strings, lists and dicts that templates call: the part of Python's that chat templates use.
 *
 * Trust:  the table is closed; a name that is not in it does not exist.
 * Source: https://docs.python.org/3/library/stdtypes.html
 * Proof:  test/unit/engine/jinja.test.ts
 * @module
 */
import { changeCase } from './letters.ts';
import type { Str } from './rope.ts';
import { occurrences, Rope, unsupported } from './rope.ts';
import { countCharacters, hasEdge, replace, split, strip } from './text.ts';
import type { Arguments, Render, Value } from './value.ts';
import { Callable, Dict, equal, isText, keyOf, List, lookUp, print } from './value.ts';

/** The argument at a position or under a name. */
export function argument(args: Arguments, position: number, name: string): Value {
  return position < args.positional.length ? args.positional[position] : args.named.get(name);
}

/** A text argument. */
function text(args: Arguments, position: number, name: string): Str {
  const value = argument(args, position, name);
  if (!isText(value)) throw unsupported('passes something that is no text to a method of text');
  return value;
}

function optionalText(args: Arguments, position: number, name: string): Str | null {
  const value = argument(args, position, name);
  return value === undefined || value === null ? null : text(args, position, name);
}

function count(args: Arguments, position: number, name: string): number {
  const value = argument(args, position, name);
  return typeof value === 'number' ? value : -1;
}

/** Text of the template only: what makes new letters would make a string of a conversation. */
function plain(value: Str, what: string): string {
  if (typeof value !== 'string') throw unsupported(`${what} text of a message`);
  return value;
}

const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase();

/** Letters that change their case; also filters. */
export const letterCases: ReadonlyMap<string, (value: Str, render: Render) => Str> = new Map<string, (value: Str, render: Render) => Str>([
  ['upper', (value, render) => (typeof value === 'string' ? value.toUpperCase() : changeCase(value, 'upper', render))],
  ['lower', (value, render) => (typeof value === 'string' ? value.toLowerCase() : changeCase(value, 'lower', render))],
  ['capitalize', (value) => capital(plain(value, 'capitalizes'))],
  ['title', (value) => plain(value, 'capitalizes').replace(/\p{L}+/gu, capital)],
]);

function edge(value: Str, args: Arguments, side: 'start' | 'end', render: Render): boolean {
  const wanted = argument(args, 0, '');
  if (wanted instanceof List) return wanted.items.some((item) => isText(item) && hasEdge(value, item, side, render.budget));
  return hasEdge(value, text(args, 0, ''), side, render.budget);
}

/** `'a {} b'.format(x)`: numbered and plain fields only. */
function format(value: Str, args: Arguments, render: Render): Str {
  let next = 0;
  const parts: Str[] = [];
  for (const piece of plain(value, 'formats').split(/(\{\{|\}\}|\{\d*\})/)) {
    const field = /^\{(\d*)\}$/.exec(piece);
    if (field !== null) parts.push(print(args.positional[field[1] === '' ? next++ : Number(field[1])], render));
    else if (piece === '{{' || piece === '}}') parts.push(piece.charAt(0));
    else if (/[{}]/.test(piece)) throw unsupported('formats with named fields');
    else parts.push(piece);
  }
  return Rope.concat(parts, render.budget);
}

type Method<T> = (self: T, args: Arguments, render: Render) => Value;

const textMethods = new Map<string, Method<Str>>([
  ...[...letterCases].map(([name, change]) => [name, (self: Str, _args: Arguments, render: Render) => change(self, render)] as const),
  ['strip', (self, args, render) => strip(self, 'both', optionalText(args, 0, 'chars'), render.budget)],
  ['lstrip', (self, args, render) => strip(self, 'left', optionalText(args, 0, 'chars'), render.budget)],
  ['rstrip', (self, args, render) => strip(self, 'right', optionalText(args, 0, 'chars'), render.budget)],
  ['split', (self, args, render) => new List(split(self, optionalText(args, 0, 'sep'), count(args, 1, 'maxsplit'), false, render.budget))],
  ['rsplit', (self, args, render) => new List(split(self, text(args, 0, 'sep'), count(args, 1, 'maxsplit'), true, render.budget))],
  ['splitlines', (self, _args, render) => {
    const lines = split(self, '\n', -1, false, render.budget);
    return new List(lines.at(-1) === '' ? lines.slice(0, -1) : lines);
  }],
  ['startswith', (self, args, render) => edge(self, args, 'start', render)],
  ['endswith', (self, args, render) => edge(self, args, 'end', render)],
  ['removeprefix', (self, args, render) => {
    const rope = Rope.from(self);
    const wanted = text(args, 0, '');
    return hasEdge(self, wanted, 'start', render.budget) ? rope.slice(Rope.from(wanted).length, rope.length) : self;
  }],
  ['removesuffix', (self, args, render) => {
    const rope = Rope.from(self);
    const wanted = text(args, 0, '');
    return hasEdge(self, wanted, 'end', render.budget) ? rope.slice(0, rope.length - Rope.from(wanted).length) : self;
  }],
  ['replace', (self, args, render) => replace(self, text(args, 0, 'old'), text(args, 1, 'new'), count(args, 2, 'count'), render.budget)],
  ['find', (self, args, render) => {
    const rope = Rope.from(self);
    const [place] = occurrences(rope, text(args, 0, ''), render.budget, 1);
    return place === undefined ? -1 : countCharacters(rope.slice(0, place), render.budget);
  }],
  ['count', (self, args, render) => occurrences(Rope.from(self), text(args, 0, ''), render.budget).length],
  ['join', (self, args, render) => join(argument(args, 0, ''), self, render)],
  ['format', (self, args, render) => format(self, args, render)],
  ['isdigit', (self) => /^\p{Nd}+$/u.test(plain(self, 'looks for digits in'))],
]);

/** Joins the items of a list, as `print` writes them. */
export function join(list: Value, separator: Str, render: Render): Str {
  if (!(list instanceof List)) throw unsupported('joins something that is no list');
  render.budget.bytes(list.items.length * Rope.from(separator).length);
  return Rope.concat(list.items.flatMap((item, i) => (i > 0 ? [separator, print(item, render)] : [print(item, render)])), render.budget);
}

const pairs = (dict: Dict) => new List([...dict.entries].map(([key, value]) => new List([key, value])));

const dictMethods = new Map<string, Method<Dict>>([
  ['get', (self, args, render) => {
    const found = lookUp(self, args.positional[0], render);
    return found !== undefined ? found : (argument(args, 1, 'default') ?? null);
  }],
  ['items', (self, _args, render) => {
    render.budget.spend(self.entries.size);
    return pairs(self);
  }],
  ['keys', (self) => new List([...self.entries.keys()])],
  ['values', (self) => new List([...self.entries.values()])],
  ['copy', (self) => new Dict(self.entries)],
  ['pop', (self, args) => {
    const key = keyOf(args.positional[0]);
    const value = self.entries.get(key) ?? args.positional[1];
    self.entries.delete(key);
    return value;
  }],
]);

const listMethods = new Map<string, Method<List>>([
  ['append', (self, args) => {
    self.items.push(args.positional[0]);
    return null;
  }],
  ['pop', (self, args) => {
    const at = args.positional[0];
    return self.items.splice(typeof at === 'number' ? at : -1, 1)[0];
  }],
  ['index', (self, args, render) => self.items.findIndex((item) => equal(item, args.positional[0], render))],
  ['count', (self, args, render) => self.items.filter((item) => equal(item, args.positional[0], render)).length],
]);

function bind<T>(method: Method<T> | undefined, self: T, render: Render): Callable | undefined {
  return method && new Callable((args) => method(self, args, render));
}

/** The method of a value by its name, or `undefined`. */
export function methodOf(value: Value, name: string, render: Render): Callable | undefined {
  if (isText(value)) return bind(textMethods.get(name), value, render);
  if (value instanceof List) return bind(listMethods.get(name), value, render);
  return value instanceof Dict && !value.isNamespace ? bind(dictMethods.get(name), value, render) : undefined;
}
