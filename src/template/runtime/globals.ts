/**
 * What chat templates find around them: a few functions, none of the host's.
 *
 * Proof: test/unit/template/evaluator.test.ts
 * @module
 */
import { parameters, requireText, requireWhole } from './arguments.ts';
import { TemplateError, unsupported } from './budget.ts';
import { formatTime } from '../library/strftime.ts';
import type { Arguments, Render, Value } from './value.ts';
import { Callable, Dict, isDict, iterate, keyOf, List } from './value.ts';

const maxRange = 10_000;
const longestFormat = 256;

function refused(): TemplateError {
  return new TemplateError(
    'REQUEST_TEMPLATE_REFUSED',
    "the model's chat template refuses these messages; check the order of the roles",
    'messages',
  );
}

/** The pairs of a dict, or of a list of pairs, and the named arguments after them. */
function pairs({ positional, named }: Arguments, render: Render): [string | number, Value][] {
  const [first] = positional;
  render.budget.hold(4);
  if (positional.length > 1) throw unsupported('makes a dict in an unknown way');
  if (isDict(first)) {
    render.budget.hold(first.entries.size + named.size);
    return [...first.entries, ...named];
  }
  const given = positional.length === 0 ? [] : iterate(first, render);
  render.budget.hold(given.length + named.size);
  const made = given.map((pair): [string | number, Value] => {
    if (!(pair instanceof List) || pair.items.length !== 2) throw unsupported('makes a dict in an unknown way');
    return [keyOf(pair.items[0]), pair.items[1]];
  });
  return [...made, ...named];
}

/** The functions that templates know by name. */
export function globals(render: Render, now: Date): [string, Value][] {
  return [
    [
      'raise_exception',
      new Callable(() => {
        throw refused();
      }),
    ],
    ['namespace', new Callable((args) => new Dict(pairs(args, render), 'namespace'))],
    ['dict', new Callable((args) => new Dict(pairs(args, render)))],
    ['range', new Callable((args) => range(args, render))],
    [
      'strftime_now',
      new Callable((args) => {
        const format = requireText(parameters(args, ['format'], 1)[0]);
        if (typeof format !== 'string' || format.length > longestFormat)
          throw unsupported('asks for the time in an unknown way');
        render.budget.each(format.length * 16);
        return formatTime(now, format);
      }),
    ],
  ];
}

function range(args: Arguments, render: Render): List {
  const given = parameters(args, ['', '', ''], 1).slice(0, args.positional.length).map(requireWhole);
  if (args.named.size > 0) throw unsupported('passes arguments in an unknown way');
  const [a = 0, b, step = 1] = given;
  if (step === 0) throw unsupported('counts with a step of 0');
  const [start, stop] = b === undefined ? [0, a] : [a, b];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > maxRange) throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template counts too far");
  render.budget.hold(2 + (length >> 3));
  render.budget.spend(length);
  return new List(
    Array.from({ length }, (_, i) => start + i * step),
    'range',
  );
}
