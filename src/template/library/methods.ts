/**
 * The methods of strings, lists and dicts by name.
 *
 * Trust: the tables are closed. A Python method that this server does not implement is refused. Any other name is not
 *        treated as a method.
 * Proof: test/unit/template/evaluator.test.ts
 * @module
 */
import type { Method } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import { dictMethods, listMethods } from './collection-methods.ts';
import { textMethods } from './text-methods.ts';
import type { Render, Value } from '../runtime/value.ts';
import { Callable, isDict, isText, List } from '../runtime/value.ts';

/** Python's methods that are not implemented. */
const unimplemented = {
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
  refused: ReadonlySet<string>,
  self: T,
  name: string,
  render: Render,
): Callable | undefined {
  const method = methods.get(name);
  if (method !== undefined) {
    render.budget.retain(2);
    return new Callable((args) => {
      render.budget.retain(1);
      return method(self, args, render);
    });
  }
  if (refused.has(name)) throw unsupported('calls an unsupported method');
  return undefined;
}

/**
 * Returns a value's method by name, or `undefined` if Python has no such method.
 * @throws `TEMPLATE_UNSUPPORTED` for a method that is not implemented
 */
export function methodOf(value: Value, name: string, render: Render): Callable | undefined {
  if (isText(value)) return bind(textMethods, unimplemented.text, value, name, render);
  if (value instanceof List) {
    if (value.kind === 'view' || value.kind === 'generator') return undefined;
    return bind(listMethods, unimplemented.list, value, name, render);
  }
  return isDict(value) ? bind(dictMethods, unimplemented.dict, value, name, render) : undefined;
}

/** Names of all methods, for the cost test. @internal */
export const methodNames = {
  text: [...textMethods.keys()],
  list: [...listMethods.keys()],
  dict: [...dictMethods.keys()],
} as const;
