/**
 * The list and dict methods that templates may call.
 *
 * Limits: `append` and `pop`, which transformers' sandbox forbids, work as in Python.
 * Source: https://docs.python.org/3/library/stdtypes.html#sequence-types-list-tuple-range
 * Proof:  test/unit/template/evaluator.test.ts
 * @module
 */
import type { Method } from '../runtime/arguments.ts';
import { bindParameters, requireInteger } from '../runtime/arguments.ts';
import { unsupported } from '../runtime/budget.ts';
import type { Value } from '../runtime/value.ts';
import { Dict, equals, List, lookup, toKey } from '../runtime/value.ts';

export const dictMethods: ReadonlyMap<string, Method<Dict>> = new Map<string, Method<Dict>>([
  [
    'get',
    (self, args, render) => {
      const [key, fallback] = bindParameters(args, ['', ''], 1);
      const { found, value } = lookup(self, key, render);
      if (found) return value;
      return args.positional.length > 1 ? fallback : null;
    },
  ],
  [
    'items',
    (self, args, { budget }) => {
      bindParameters(args, []);
      budget.retain(2 + 2 * self.entries.size);
      return new List(
        [...self.entries].map(([key, value]) => new List([key, value], 'tuple')),
        'view',
      );
    },
  ],
  [
    'keys',
    (self, args, { budget }) => {
      bindParameters(args, []);
      budget.spend(self.entries.size);
      return new List([...self.entries.keys()], 'view');
    },
  ],
  [
    'values',
    (self, args, { budget }) => {
      bindParameters(args, []);
      budget.spend(self.entries.size);
      return new List([...self.entries.values()], 'view');
    },
  ],
  [
    'copy',
    (self, args, { budget }) => {
      bindParameters(args, []);
      budget.retain(4 + 2 * self.entries.size);
      return new Dict(self.entries);
    },
  ],
  [
    'pop',
    (self, args, render) => {
      const [key, fallback] = bindParameters(args, ['', ''], 1);
      const { found, value } = lookup(self, key, render);
      if (!found && args.positional.length < 2) throw unsupported('pops a key that is not in the dict');
      if (found) self.entries.delete(toKey(key));
      return found ? value : fallback;
    },
  ],
]);

/** Returns the items of a list for modification. @throws `TEMPLATE_UNSUPPORTED` for other sequences */
function mutableItems(self: List): Value[] {
  if (self.kind !== 'list') throw unsupported('modifies a sequence that is not a list');
  return self.items;
}

export const listMethods: ReadonlyMap<string, Method<List>> = new Map<string, Method<List>>([
  [
    'append',
    (self, args) => {
      mutableItems(self).push(bindParameters(args, [''], 1)[0]);
      return null;
    },
  ],
  [
    'pop',
    (self, args, { budget }) => {
      const items = mutableItems(self);
      const [at = -1] = bindParameters(args, ['']);
      const place = requireInteger(at) < 0 ? items.length + requireInteger(at) : requireInteger(at);
      if (place < 0 || place >= items.length) throw unsupported('pops an index that is out of range');
      budget.spend(items.length - place);
      return items.splice(place, 1)[0];
    },
  ],
  [
    'index',
    (self, args, render) => {
      const [wanted] = bindParameters(args, [''], 1);
      const place = self.items.findIndex((item) => equals(item, wanted, render));
      if (place < 0) throw unsupported('calls index with a value that is not in the list');
      return place;
    },
  ],
  [
    'count',
    (self, args, render) => {
      const [wanted] = bindParameters(args, [''], 1);
      return self.items.filter((item) => equals(item, wanted, render)).length;
    },
  ],
]);
