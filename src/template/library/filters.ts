/**
 * The table of filters (`x | trim`) for chat templates, and the filters for text and numbers.
 *
 * Trust:  the table is closed. An unknown name is refused.
 * Source: https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-filters; `tojson` follows transformers
 * Proof:  test/unit/template/evaluator.test.ts, test/unit/template/costs.test.ts
 * @module
 */
import type { Filter } from '../runtime/arguments.ts';
import { bindParameters, requireInteger, requireText } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import { capitalize, changeCase, titleCaseWords } from './case-mapping.ts';
import { print } from './formatting.ts';
import { toJson } from './tojson.ts';
import type { Str } from '../runtime/rope.ts';
import { Rope } from '../runtime/rope.ts';
import {
  dictFilter,
  dictsortFilter,
  endFilter,
  extremumFilter,
  joinFilter,
  mapFilter,
  reverseFilter,
  selectFilter,
  sortFilter,
  uniqueFilter,
} from './sequence-filters.ts';
import { countCharacters, indent, replace, strip } from './string-ops.ts';
import { displayName } from './jinja-tests.ts';
import type { Arguments, Render, Value } from '../runtime/value.ts';
import { Float, isDict, isNone, isText, isTruthy, iterate, List, Markup, toNumber } from '../runtime/value.ts';

const maxIndent = 64;

/** Returns the operand of a text filter as text. */
function textOperand(value: Value, render: Render): Str {
  if (value instanceof Markup) throw unsupported('applies a text filter to text marked as safe');
  return print(value, render);
}

/** `tojson` as in transformers: `json.dumps` without HTML escapes. */
function tojson(value: Value, args: Arguments, render: Render): Str {
  if (args.positional.length > 0) throw unsupported('passes positional arguments to tojson');
  const [ascii, width, separators, sortKeys] = bindParameters(args, [
    'ensure_ascii',
    'indent',
    'separators',
    'sort_keys',
  ]);
  let spaces: string | undefined;
  if (typeof width === 'string' && width.length <= maxIndent) spaces = width;
  else if (!isNone(width)) spaces = ' '.repeat(Math.max(0, Math.min(requireInteger(width), maxIndent)));
  if (!isNone(separators) && !(separators instanceof List && separators.items.length === 2))
    throw unsupported('calls tojson with invalid separators');
  const [item = spaces === undefined ? ', ' : ',', key = ': '] = separators instanceof List ? separators.items : [];
  if (typeof item !== 'string' || typeof key !== 'string') throw unsupported('calls tojson with invalid separators');
  return toJson(value, { indent: spaces, ascii: isTruthy(ascii), sortKeys: isTruthy(sortKeys), item, key }, render);
}

const decimal = /^[+-]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:[eE][+-]?\d+(?:_\d+)*)?$/;
const maxNumberLength = 64;

/** Parses a number like Python's `int` and `float`. @returns `undefined` where they raise a `ValueError` */
function readNumber(text: string): number | undefined {
  const plain = text.replace(/^[\t-\r\x1c- ]+|[\t-\r\x1c- ]+$/g, '');
  if (decimal.test(plain)) return Number(plain.replaceAll('_', ''));
  if (/^[+-]?(?:inf|infinity|nan)$/i.test(plain) || /[^\x00-\x7f]/.test(plain))
    throw unsupported('parses a number in an unusual format');
  return undefined;
}

function numberFilter(integer: boolean): Filter {
  return (value, args, render) => {
    const [fallback = integer ? 0 : new Float(0), base] = bindParameters(
      args,
      integer ? ['default', 'base'] : ['default'],
    );
    if (base !== undefined && base !== 10) throw unsupported('parses a number with a base other than 10');
    if (value instanceof Rope) throw unsupported('parses a number from message text');
    if (value === undefined) throw unsupported('parses a number from an undefined value');
    if (typeof value === 'string' && value.length > maxNumberLength)
      throw unsupported('parses a number from a long text');
    render.budget.spend(1);
    const parsed = typeof value === 'string' ? readNumber(value) : toNumber(value);
    if (parsed === undefined) return fallback;
    if (!Number.isFinite(parsed) || (integer && !Number.isSafeInteger(Math.trunc(parsed))))
      throw unsupported('parses a number that is too large');
    return integer ? Math.trunc(parsed) + 0 : new Float(parsed);
  };
}

function lengthFilter(value: Value, args: Arguments, render: Render): number {
  bindParameters(args, []);
  if (isText(value)) return countCharacters(value, render.budget);
  if (value instanceof List && value.kind !== 'generator') return value.items.length;
  if (isDict(value)) return value.entries.size;
  if (value === undefined) return 0;
  throw unsupported('takes the length of a value that has none');
}

function indentFilter(value: Value, args: Arguments, render: Render): Str {
  const [width = 4, first, blank] = bindParameters(args, ['width', 'first', 'blank']);
  const margin = isText(width)
    ? width
    : ' '.repeat(Math.max(0, requireInteger(width)) > maxIndent ? refuseWidth() : Math.max(0, requireInteger(width)));
  return indent(requireText(value), margin, isTruthy(first), isTruthy(blank), render.budget);
}

function refuseWidth(): never {
  throw unsupported(`indents by more than ${maxIndent} spaces`);
}

function defaultFilter(value: Value, args: Arguments): Value {
  const [fallback = '', alsoFalse] = bindParameters(args, ['default_value', 'boolean']);
  return value === undefined || (isTruthy(alsoFalse) && !isTruthy(value)) ? fallback : value;
}

/** Creates a text filter without arguments. */
const textFilter =
  (change: (text: Str, render: Render) => Value): Filter =>
  (value, args, render) => {
    bindParameters(args, []);
    return change(textOperand(value, render), render);
  };

function absFilter(value: Value, args: Arguments): Value {
  bindParameters(args, []);
  const number = toNumber(value);
  if (number === undefined) throw unsupported('takes the absolute value of a value that is not a number');
  return value instanceof Float ? new Float(Math.abs(number)) : Math.abs(number);
}

const filters = new Map<string, Filter>([
  ['upper', textFilter((text, render) => changeCase(text, 'upper', render))],
  ['lower', textFilter((text, render) => changeCase(text, 'lower', render))],
  ['capitalize', textFilter(capitalize)],
  ['title', textFilter(titleCaseWords)],
  [
    'safe',
    (value, args, render) => {
      bindParameters(args, []);
      return new Markup(print(value, render));
    },
  ],
  [
    'string',
    (value, args, render) => {
      bindParameters(args, []);
      return value instanceof Markup ? value : print(value, render);
    },
  ],
  ['tojson', tojson],
  [
    'trim',
    (value, args, render) => {
      const [chars] = bindParameters(args, ['chars']);
      return strip(textOperand(value, render), 'both', isNone(chars) ? null : requireText(chars), render.budget);
    },
  ],
  ['length', lengthFilter],
  ['count', lengthFilter],
  ['default', defaultFilter],
  ['d', defaultFilter],
  ['join', joinFilter],
  [
    'replace',
    (value, args, render) => {
      const [old, by, most] = bindParameters(args, ['old', 'new', 'count'], 2);
      return replace(
        textOperand(value, render),
        print(old, render),
        print(by, render),
        isNone(most) ? -1 : requireInteger(most),
        render.budget,
      );
    },
  ],
  ['indent', indentFilter],
  [
    'list',
    (value, args, render) => {
      bindParameters(args, []);
      return new List([...iterate(value, render)]);
    },
  ],
  ['first', endFilter(0)],
  ['last', endFilter(-1)],
  ['reverse', reverseFilter],
  ['sort', sortFilter],
  ['dictsort', dictsortFilter],
  ['unique', uniqueFilter],
  ['select', selectFilter(true, false)],
  ['reject', selectFilter(false, false)],
  ['selectattr', selectFilter(true, true)],
  ['rejectattr', selectFilter(false, true)],
  ['map', (value, args, render) => mapFilter(value, args, render, applyFilter)],
  ['int', numberFilter(true)],
  ['float', numberFilter(false)],
  ['abs', absFilter],
  ['min', extremumFilter(-1)],
  ['max', extremumFilter(1)],
  ['items', dictFilter('items')],
  ['keys', dictFilter('keys')],
  ['values', dictFilter('values')],
]);

/** Applies a filter by its name. @throws `TEMPLATE_UNSUPPORTED` for an unknown name. */
export function applyFilter(name: string, value: Value, args: Arguments, render: Render): Value {
  const filter = filters.get(name);
  if (filter === undefined) throw unsupported(`uses the filter ${displayName(name)}`);
  render.budget.retain(1);
  // A filter may copy its arguments, and `map` calls it once per item.
  render.budget.spend(args.positional.length + args.named.size);
  return filter(value, args, render);
}

/** Names of all filters, for the cost test. @internal */
export const filterNames: readonly string[] = [...filters.keys()];
