/**
 * What chat templates find around them: three constants and a few functions, none of the host's.
 *
 * Proof: test/unit/engine/jinja.test.ts
 * @module
 */
import { formatTime } from './clock.ts';
import { RequestError } from './request.ts';
import { unsupported } from './rope.ts';
import type { Render, Value } from './value.ts';
import { Callable, Dict, List } from './value.ts';

const maxRange = 10_000;

function refused(): RequestError {
  return new RequestError('REQUEST_TEMPLATE_REFUSED', "the model's chat template refuses these messages; check the order of the roles", 'messages');
}

/** The constants and functions that templates know by name. */
export function globals(render: Render, now: Date): [string, Value][] {
  return [
    ['true', true],
    ['True', true],
    ['false', false],
    ['False', false],
    ['none', null],
    ['None', null],
    ['raise_exception', new Callable(() => { throw refused(); })],
    ['namespace', new Callable(({ positional, named }) => new Dict([...(positional[0] instanceof Dict ? positional[0].entries : []), ...named], true))],
    ['dict', new Callable(({ named }) => new Dict(named))],
    ['range', new Callable(({ positional }) => range(positional, render))],
    ['strftime_now', new Callable(({ positional: [format] }) => {
      if (typeof format !== 'string') throw unsupported('asks for the time in an unknown way');
      return formatTime(now, format);
    })],
  ];
}

function range(args: readonly Value[], render: Render): List {
  const [a, b, c = 1] = args;
  const [start, stop] = args.length > 1 ? [a, b] : [0, a];
  if (typeof start !== 'number' || typeof stop !== 'number' || typeof c !== 'number' || c === 0) throw unsupported('counts in something else than whole numbers');
  const length = Math.max(0, Math.ceil((stop - start) / c));
  if (length > maxRange) throw new RequestError('TEMPLATE_LIMIT', "the model's chat template counts too far");
  render.budget.spend(length);
  return new List(Array.from({ length }, (_, i) => start + i * c));
}
