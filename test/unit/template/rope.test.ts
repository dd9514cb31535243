/**
 * Text operations on slices of bytes: same results as on plain strings, and origins that survive.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Evaluator } from '../../../src/template/runtime/evaluator.ts';
import { Scope } from '../../../src/template/runtime/scope.ts';
import { parseSource } from '../../../src/template/syntax/parser.ts';
import type { Str } from '../../../src/template/runtime/rope.ts';
import { Budget } from '../../../src/template/runtime/budget.ts';
import { equalTexts, Rope } from '../../../src/template/runtime/rope.ts';
import { replace, split, strip } from '../../../src/template/library/string-ops.ts';
import { search } from '../../../src/template/library/byte-search.ts';
import type { Value } from '../../../src/template/runtime/value.ts';

const budget = () => new Budget(10_000_000, 1 << 24);
const text = (value: string): Str => Rope.fromMessage(Buffer.from(value));
const show = (value: Str): string =>
  typeof value === 'string' ? value : value.segments.map((s) => s.bytes.toString('utf8', s.from, s.to)).join('');

/** Runs a template with one variable. */
function run(source: string, x: Value): string {
  const scope = new Scope();
  for (const [name, value] of [['x', x]] as const) scope.set(name, value);
  return show(new Evaluator({ budget: budget(), wipeLater: () => undefined }).run(parseSource(source), scope));
}

/** Expressions that chat templates use on text. */
const expressions = [
  'x | trim',
  'x.strip()',
  'x.lstrip()',
  'x.rstrip()',
  "x.strip('\\n')",
  "x.lstrip(' a')",
  "x.rstrip('b\\n')",
  "x | trim('ab')",
  "x.split('a') | join('|')",
  "x.split('ab', 1) | join('|')",
  "x.split() | join('|')",
  "x.split(none, 1) | join('|')",
  "x.rsplit('a', 1) | join('|')",
  "x.split('\\n') | length",
  "x.split('</think>')[-1].lstrip('\\n')",
  "x.split('a')[0]",
  "x.split('b') | last | trim",
  'x.splitlines() | length',
  "x.startswith('a')",
  "x.endswith('b')",
  "x.startswith(('a', ' ')) ",
  "'ab' in x",
  "'ab' not in x",
  "x in 'aab b'",
  "x in ['a', 'b']",
  "x == 'a'",
  "x != 'ab'",
  'x == x',
  "'' in x",
  'x | length',
  'x[0]',
  'x[-1]',
  'x[1:]',
  'x[:-1]',
  'x[1:3]',
  'x[2:-2]',
  'x[-3:]',
  'x[40]',
  "x.replace('a', 'bb')",
  "x.replace('ab', '')",
  "x | replace('a', 'b')",
  "x.replace('a', x, 1)",
  "x.find('b')",
  "x.count('a')",
  "x.removeprefix('a')",
  "x.removesuffix('b')",
  'x + x',
  "'<' ~ x ~ '>'",
  'x ~ 1 ~ true ~ none',
  'x | tojson',
  '[x, 1, true] | tojson',
  "{'k': x} | tojson(indent=2)",
  "{'k': [x]} | string",
  "'-'.join([x, 'c', x])",
  'x | indent',
  'x | indent(2, true)',
  'x | upper',
  'x | lower',
  'x.lower()',
  "'a' in (x | lower)",
  'x is string',
  'x is defined and x is iterable and x is not mapping',
  'x | string',
  'x | safe',
  "x or 'none'",
  "x and 'some'",
  "x | default('d')",
  "x | default('d', true)",
  "'yes' if x else 'no'",
  "'{}!{}'.format(x, 1)",
  "[x, 'a', x] | unique | list | length",
  "{'a': 1, 'b': 2}[x]",
  "{'a': 1}.get(x, 'other')",
  '[x] | first',
  "(x, 'b') | join(', ')",
  'x | trim | length > 0',
];

const anyText = fc.oneof(
  fc.string({
    unit: fc.constantFrom(
      'a',
      'b',
      ' ',
      '\n',
      '"',
      '\\',
      '\u0001',
      '\u00e9',
      '\u3000',
      '\u{1f600}',
      '\u0130',
      '\u00df',
    ),
    maxLength: 12,
  }),
  fc.string({ unit: 'grapheme', maxLength: 12 }).map((s) => s.replace(/[\u0085\u001c-\u001f]/g, '')),
);

test('every operation returns the same characters on slices of bytes as on a plain string', () => {
  const parsed = expressions.map((expression) => `{{ ${expression} }}`);
  fc.assert(
    fc.property(anyText, (value) => {
      for (const source of parsed) {
        // The final sigma depends on its place in a word: a stated limit.
        if (/lower/.test(source) && value.includes('\u03a3')) continue;
        assert.equal(run(source, text(value)), run(source, value), `${source} on ${JSON.stringify(value)}`);
      }
    }),
    { numRuns: 400 },
  );
});

test('the same holds for text made of template and message pieces', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyText, fc.boolean()), { minLength: 1, maxLength: 4 }), (pieces) => {
      const whole = pieces.map(([piece]) => piece).join('');
      const mixed = Rope.concat(
        pieces.map(([piece, isText]) => (isText ? text(piece) : piece)),
        budget(),
      );
      for (const expression of expressions) {
        if (/lower/.test(expression) && whole.includes('\u03a3')) continue;
        assert.equal(
          run(`{{ ${expression} }}`, mixed),
          run(`{{ ${expression} }}`, whole),
          `${expression} on ${JSON.stringify(pieces)}`,
        );
      }
    }),
    { numRuns: 200 },
  );
});

test('origins survive every operation: message bytes never become template text', () => {
  const operations: ((rope: Str) => Str[])[] = [
    (rope) => [strip(rope, 'both', null, budget())],
    (rope) => split(rope, 'x', -1, false, budget()),
    (rope) => [replace(rope, 'x', 'TT', -1, budget())],
    (rope) => [Rope.concat(['T', rope, 'T', rope], budget())],
    (rope) => [Rope.from(rope, budget()).slice(1, 5, budget())],
  ];
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('u', 'x', ' ', '\n') }),
      fc.array(fc.nat(operations.length - 1), { maxLength: 5 }),
      (value, steps) => {
        // Template text is made of T, message text of u, x and white space.
        let all: Str[] = [Rope.concat(['T', text(value), 'T'], budget())];
        for (const step of steps) all = all.flatMap((rope) => operations[step]!(rope)).slice(0, 20);
        for (const rope of all) {
          if (typeof rope === 'string') assert.match(rope, /^T*$/);
          else
            for (const s of rope.segments)
              assert.match(s.bytes.toString('utf8', s.from, s.to), s.origin === 'template' ? /^T+$/ : /^[ux\s]+$/);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('adjacent slices of one message are merged', () => {
  const bytes = Buffer.from('first</think>second');
  const rope = Rope.from(Rope.fromMessage(bytes), budget());
  const joined = Rope.from(
    Rope.concat([rope.slice(0, 5, budget()), rope.slice(5, 13, budget()), rope.slice(13, 19, budget())], budget()),
    budget(),
  );
  assert.deepEqual(joined.segments, [{ bytes, from: 0, to: 19, origin: 'text' }]);
  assert.ok(equalTexts(joined, 'first</think>second', budget()));
});

test('every occurrence of a pattern is found, short or long, with or without repetitions', () => {
  const few = (most: number) => fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: most });
  const naive = (hay: string, needle: string) =>
    hay
      .split(needle)
      .slice(0, -1)
      .reduce<number[]>(
        (found, part) => [...found, (found.length > 0 ? (found.at(-1) ?? 0) + needle.length : 0) + part.length],
        [],
      );
  fc.assert(
    fc.property(few(4), fc.nat(60), few(6), fc.nat(40), (unit, times, tail, repeats) => {
      const needle = unit.repeat(times + 1) + tail;
      const hay = `${unit.repeat(times)}${tail}${needle.repeat(repeats % 4)}b${unit.repeat(times + 3)}${tail}`;
      assert.deepEqual(search(Buffer.from(hay), Buffer.from(needle), 1000), naive(hay, needle));
    }),
    { numRuns: 500 },
  );
});
