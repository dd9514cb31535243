/**
 * The string methods that templates may call: the subset of Python's methods that chat templates use.
 *
 * Source: https://docs.python.org/3/library/stdtypes.html#string-methods
 * Proof:  test/unit/template/evaluator.test.ts, test/unit/template/rope.test.ts
 * @module
 */
import type { Method } from '../runtime/arguments.ts';
import { bindParameters, requireInteger, requireTemplateText, requireText } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import { capitalize, changeCase, hasCase, titleCase } from './case-mapping.ts';
import { print } from './formatting.ts';
import type { Str } from '../runtime/rope.ts';
import { occurrences, Rope } from '../runtime/rope.ts';
import { countCharacters, hasAffix, join, replace, split, splitLines, strip } from './string-ops.ts';
import type { Arguments, Render, Value } from '../runtime/value.ts';
import { isNone, iterate, List } from '../runtime/value.ts';

function affix(self: Str, args: Arguments, side: 'start' | 'end', render: Render): boolean {
  const [wanted] = bindParameters(args, [''], 1);
  if (wanted instanceof List && wanted.kind === 'tuple')
    return wanted.items.some((item) => hasAffix(self, requireText(item), side, render.budget));
  return hasAffix(self, requireText(wanted), side, render.budget);
}

/** `removeprefix` and `removesuffix`. */
function removeAffix(self: Str, args: Arguments, side: 'start' | 'end', { budget }: Render): Str {
  const wanted = requireText(bindParameters(args, [''], 1)[0]);
  if (!hasAffix(self, wanted, side, budget)) return self;
  const rope = Rope.from(self, budget);
  const { length } = Rope.from(wanted, budget);
  return side === 'start' ? rope.slice(length, rope.length, budget) : rope.slice(0, rope.length - length, budget);
}

/** `'a {} b'.format(x)`, with numbered and plain fields only. */
function format(self: Str, args: Arguments, render: Render): Str {
  const pattern = requireTemplateText(self, 'calls format on');
  if (args.named.size > 0) throw unsupported('calls format with named fields');
  render.budget.walk(pattern.length * 2);
  let next = 0;
  let numbered = false;
  const parts: Str[] = [];
  for (const piece of pattern.split(/(\{\{|\}\}|\{\d*\})/)) {
    const field = /^\{(\d*)\}$/.exec(piece);
    if (field !== null) {
      numbered ||= field[1] !== '';
      const at = field[1] === '' ? next++ : Number(field[1]);
      if ((numbered && next > 0) || at >= args.positional.length)
        throw unsupported('calls format with too few arguments');
      parts.push(print(args.positional[at], render));
    } else if (piece === '{{' || piece === '}}') parts.push(piece.charAt(0));
    else if (/[{}]/.test(piece)) throw unsupported('calls format with named fields');
    else parts.push(piece);
  }
  return Rope.concat(parts, render.budget);
}

function isDigit(self: Str, { budget }: Render): boolean {
  const plain = requireTemplateText(self, 'calls isdigit on');
  budget.walk(plain.length);
  if (/^\p{Nd}+$/u.test(plain)) return true;
  if (/\p{No}/u.test(plain)) throw unsupported('calls isdigit on unusual digits');
  return false;
}

function find(self: Str, args: Arguments, { budget }: Render): number {
  const wanted = requireText(bindParameters(args, [''], 1)[0]);
  if (wanted.length === 0) return 0;
  const rope = Rope.from(self, budget);
  const [place] = occurrences(rope, wanted, budget, 1);
  return place === undefined ? -1 : countCharacters(rope.slice(0, place, budget), budget);
}

function count(self: Str, args: Arguments, { budget }: Render): number {
  const wanted = requireText(bindParameters(args, [''], 1)[0]);
  return wanted.length === 0
    ? countCharacters(self, budget) + 1
    : occurrences(Rope.from(self, budget), wanted, budget).length;
}

/** Returns the separator and the maximum number of splits. */
function splitArguments(args: Arguments): [Str | null, number] {
  const [separator, most] = bindParameters(args, ['sep', 'maxsplit']);
  return [isNone(separator) ? null : requireText(separator), most === undefined ? -1 : requireInteger(most)];
}

const methodWithoutArguments =
  (change: (self: Str, render: Render) => Value): Method<Str> =>
  (self, args, render) => {
    bindParameters(args, []);
    return change(self, render);
  };

const stripMethod =
  (sides: 'both' | 'left' | 'right'): Method<Str> =>
  (self, args, { budget }) => {
    const [chars] = bindParameters(args, ['']);
    return strip(self, sides, isNone(chars) ? null : requireText(chars), budget);
  };

export const textMethods: ReadonlyMap<string, Method<Str>> = new Map<string, Method<Str>>([
  ['upper', methodWithoutArguments((self, render) => changeCase(self, 'upper', render))],
  ['lower', methodWithoutArguments((self, render) => changeCase(self, 'lower', render))],
  ['capitalize', methodWithoutArguments(capitalize)],
  ['title', methodWithoutArguments(titleCase)],
  ['islower', methodWithoutArguments((self, render) => hasCase(self, 'lower', render))],
  ['isupper', methodWithoutArguments((self, render) => hasCase(self, 'upper', render))],
  ['isdigit', methodWithoutArguments(isDigit)],
  ['splitlines', methodWithoutArguments((self, { budget }) => new List(splitLines(self, budget)))],
  ['strip', stripMethod('both')],
  ['lstrip', stripMethod('left')],
  ['rstrip', stripMethod('right')],
  [
    'split',
    (self, args, { budget }) => {
      const [separator, most] = splitArguments(args);
      return new List(split(self, separator, most, false, budget));
    },
  ],
  [
    'rsplit',
    (self, args, { budget }) => {
      const [separator, most] = splitArguments(args);
      if (separator === null && most >= 0) throw unsupported('calls rsplit without a separator');
      return new List(split(self, separator, most, true, budget));
    },
  ],
  ['startswith', (self, args, render) => affix(self, args, 'start', render)],
  ['endswith', (self, args, render) => affix(self, args, 'end', render)],
  ['removeprefix', (self, args, render) => removeAffix(self, args, 'start', render)],
  ['removesuffix', (self, args, render) => removeAffix(self, args, 'end', render)],
  [
    'replace',
    (self, args, { budget }) => {
      const [old, by, most] = bindParameters(args, ['', '', 'count'], 2);
      return replace(self, requireText(old), requireText(by), most === undefined ? -1 : requireInteger(most), budget);
    },
  ],
  ['find', find],
  ['count', count],
  [
    'join',
    (self, args, render) => {
      const items = iterate(bindParameters(args, [''], 1)[0], render);
      return join(items.map(requireText), self, render.budget);
    },
  ],
  ['format', format],
]);
