/**
 * The global functions of chat templates. None of them is a function of the host.
 *
 * Proof: test/unit/template/evaluator.test.ts
 * @module
 */
import { bindParameters, requireText, requireInteger } from './arguments.ts';
import { TemplateError, unsupported } from './budget.ts';
import { formatDate } from '../library/strftime.ts';
import type { Arguments, Render, Value } from './value.ts';
import { Callable, Dict, isDict, iterate, toKey, List } from './value.ts';

const maxRange = 10_000;
const longestFormat = 256;

function templateRefusal(): TemplateError {
  return new TemplateError(
    'REQUEST_TEMPLATE_REFUSED',
    "the model's chat template rejects these messages; check the order of the roles",
    'messages',
  );
}

/** Returns the entries of a dict or of a list of pairs, followed by the named arguments. */
function pairs({ positional, named }: Arguments, render: Render): [string | number, Value][] {
  const [first] = positional;
  render.budget.retain(4);
  if (positional.length > 1) throw unsupported('passes unexpected arguments to dict or namespace');
  if (isDict(first)) {
    render.budget.retain(first.entries.size + named.size);
    return [...first.entries, ...named];
  }
  const given = positional.length === 0 ? [] : iterate(first, render);
  render.budget.retain(given.length + named.size);
  const made = given.map((pair): [string | number, Value] => {
    if (!(pair instanceof List) || pair.items.length !== 2)
      throw unsupported('passes unexpected arguments to dict or namespace');
    return [toKey(pair.items[0]), pair.items[1]];
  });
  return [...made, ...named];
}

/** Returns the global functions by name. */
export function globals(render: Render, now: Date): [string, Value][] {
  return [
    [
      'raise_exception',
      new Callable(() => {
        throw templateRefusal();
      }),
    ],
    ['namespace', new Callable((args) => new Dict(pairs(args, render), 'namespace'))],
    ['dict', new Callable((args) => new Dict(pairs(args, render)))],
    ['range', new Callable((args) => range(args, render))],
    [
      'strftime_now',
      new Callable((args) => {
        const format = requireText(bindParameters(args, ['format'], 1)[0]);
        if (typeof format !== 'string' || format.length > longestFormat)
          throw unsupported('calls strftime_now with an invalid format');
        render.budget.walk(format.length * 16);
        return formatDate(now, format);
      }),
    ],
  ];
}

function range(args: Arguments, render: Render): List {
  const given = bindParameters(args, ['', '', ''], 1).slice(0, args.positional.length).map(requireInteger);
  if (args.named.size > 0) throw unsupported('passes unexpected arguments');
  const [a = 0, b, step = 1] = given;
  if (step === 0) throw unsupported('calls range with a step of 0');
  const [start, stop] = b === undefined ? [0, a] : [a, b];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > maxRange)
    throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template creates a range that is too long");
  render.budget.retain(2 + (length >> 3));
  render.budget.spend(length);
  return new List(
    Array.from({ length }, (_, i) => start + i * step),
    'range',
  );
}
