/**
 * Expressions and statements of Jinja, written out and generated, with the variables that they use.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Budget } from '../../src/template/runtime/budget.ts';
import { globals } from '../../src/template/runtime/globals.ts';
import { Evaluator } from '../../src/template/runtime/evaluator.ts';
import { parseSource } from '../../src/template/syntax/parser.ts';
import { Scope } from '../../src/template/runtime/scope.ts';
import type { Value } from '../../src/template/runtime/value.ts';
import { Dict, List } from '../../src/template/runtime/value.ts';

/** A template, what Python prints (`null`: an error), and whether we refuse it although Python does not. */
export type Vector = { readonly source: string; readonly python: string | null; readonly refused?: boolean };

export const vectorsFile = join(import.meta.dirname, '../vectors/templates.json');

export function readVectors(): Vector[] {
  return JSON.parse(readFileSync(vectorsFile, 'utf8')) as Vector[];
}

/** The time for `strftime_now`. */
export const moment = '2026-01-05T13:04:09.250';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export const variables: { readonly [key: string]: Json } = {
  s: 'Hello World',
  t: ' a b ',
  e: '',
  n: 7,
  l: [1, 2, 3, 4, 5],
  w: ['b', 'A', 'a', 'B'],
  d: { b: 1, a: 'x', items: 3 },
  ms: [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: 'yo' },
    { role: 'user', content: 'hi' },
  ],
  z: null,
  tr: true,
};

function valueOf(json: Json): Value {
  if (Array.isArray(json)) return new List((json as readonly Json[]).map(valueOf));
  if (typeof json === 'object' && json !== null)
    return new Dict(Object.entries(json).map(([key, item]) => [key, valueOf(item)] as const));
  return json;
}

export type Outcome = { readonly text: string } | { readonly code: string; readonly message: string };

/** Runs a template with our evaluator; throws anything that is not one of its errors. */
export function ours(source: string, steps = 1_000_000): Outcome {
  const scope = new Scope();
  const render = { budget: new Budget(steps, 1 << 20), wipeLater: () => undefined };
  try {
    for (const [name, value] of globals(render, new Date(`${moment}Z`))) scope.set(name, value);
    for (const [name, value] of Object.entries(variables)) scope.set(name, valueOf(value));
    const text = new Evaluator(render).run(parseSource(source), new Scope(scope));
    if (typeof text !== 'string') throw new Error('text of a message where there is none');
    return { text };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === undefined || !/^(TEMPLATE_|REQUEST_TEMPLATE_)/.test(code)) throw error;
    return { code, message };
  }
}

const atoms = [
  '1',
  '0',
  '-2',
  '7',
  '1.5',
  '2.0',
  '"a"',
  '"b c"',
  '"Ab-c d"',
  '""',
  '" x\\n"',
  'true',
  'false',
  'none',
  'missing',
  's',
  't',
  'e',
  'n',
  'l',
  'w',
  'd',
  'ms',
  'z',
  '[]',
  '{}',
  '(1, "a")',
  '["a", 1]',
  '{"a": 1, "b": "c"}',
  'ms[0]',
  'ms[1].content',
  'range(3)',
  'd.items()',
  '"%Y-%j"',
];
const binary = [
  '+',
  '-',
  '*',
  '/',
  '//',
  '%',
  '**',
  '~',
  '==',
  '!=',
  '<',
  '<=',
  '>',
  '>=',
  'in',
  'not in',
  'and',
  'or',
];
const filters = [
  'upper',
  'lower',
  'title',
  'capitalize',
  'trim',
  'trim("a ")',
  'length',
  'count',
  'first',
  'last',
  'list',
  'reverse',
  'sort',
  'sort(reverse=true)',
  'unique',
  'unique(true)',
  'unique(attribute="role")',
  'join',
  'join("-")',
  'join(", ", attribute="role")',
  'default("d")',
  'default("d", true)',
  'd(1)',
  'int',
  'int(3)',
  'float',
  'abs',
  'string',
  'safe',
  'tojson',
  'tojson(indent=2)',
  'tojson(sort_keys=true)',
  'tojson(ensure_ascii=true)',
  'replace("a", "b")',
  'replace("l", "", 1)',
  'indent',
  'indent(2, true)',
  'indent(width=1, blank=true)',
  'min',
  'max',
  'items',
  'dictsort',
  'dictsort(by="value")',
  'map("upper")',
  'map(attribute="role")',
  'map(attribute="x", default=1)',
  'select',
  'reject',
  'select("string")',
  'select("gt", 2)',
  'selectattr("role", "eq", "user")',
  'rejectattr("role")',
  'selectattr("content")',
];
const tests = [
  'defined',
  'undefined',
  'none',
  'string',
  'number',
  'integer',
  'float',
  'boolean',
  'mapping',
  'sequence',
  'iterable',
  'callable',
  'true',
  'false',
  'odd',
  'even',
  'upper',
  'lower',
  'divisibleby(3)',
  'divisibleby 2',
  'eq("a")',
  'ne 1',
  'gt(1)',
  'ge 1.5',
  'lt("b")',
  'le 7',
  'in l',
  'in("abc")',
  'sameas none',
];
const tails = [
  '[0]',
  '[-1]',
  '[9]',
  '[1:]',
  '[:-1]',
  '[::-1]',
  '[-3:2]',
  '[::2]',
  '[5:0:-2]',
  '[-9::-1]',
  '["a"]',
  '["role"]',
  '.role',
  '.a',
  '.x',
  '.items()',
  '.keys()',
  '.values()',
  '.get("a")',
  '.get("q", 1)',
  '.split()',
  '.split("l")',
  '.split(" ", 1)',
  '.rsplit("o", 1)',
  '.strip()',
  '.lstrip("H")',
  '.rstrip("d")',
  '.upper()',
  '.lower()',
  '.title()',
  '.capitalize()',
  '.startswith("H")',
  '.endswith(("d", "x"))',
  '.replace("l", "L")',
  '.find("o")',
  '.count("l")',
  '.join(["x", "y"])',
  '.join(w)',
  '.format(1, "z")',
  '.splitlines()',
  '.isdigit()',
  '.islower()',
  '.removeprefix("He")',
  '.index(2)',
  '.copy()',
];

/** Returns a seeded generator of random numbers. */
export function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** A random expression. */
export function expression(next: (below: number) => number, depth: number): string {
  const pick = (list: readonly string[]) => list[next(list.length)] ?? '';
  const inner = () => expression(next, depth - 1);
  if (depth <= 0) return pick(atoms);
  switch (next(14)) {
    case 0:
    case 1:
      return `${inner()} ${pick(binary)} ${inner()}`;
    case 2:
      return `(${inner()}) ${pick(binary)} ${inner()}`;
    case 3:
    case 4:
    case 5:
      return `${inner()} | ${pick(filters)}`;
    case 6:
      return `${inner()} is ${next(2) === 0 ? '' : 'not '}${pick(tests)}`;
    case 7:
    case 8:
    case 9:
      return `(${inner()})${pick(tails)}`;
    case 10:
      return `${inner()}${pick(tails)}`;
    case 11:
      return `${inner()} if ${inner()} else ${inner()}`;
    case 12:
      return `not ${inner()}`;
    default:
      return `[${inner()}, ${inner()}]`;
  }
}

const sources = [
  '\n',
  ' ',
  '  \n',
  '\r\n',
  'x',
  '{%- if tr %}',
  '{% if e %}',
  '{%+ if n -%}',
  '{% endif %}',
  '{%- endif -%}',
  '{% for i in l %}',
  '{%- for i in w -%}',
  '{% else %}',
  '{% endfor %}',
  '{% endfor -%}',
  '{{ i }}',
  '{{- n -}}',
  '{{ s }}',
  '{# c #}',
  '{#- c -#}',
  '{% set q = n %}',
  '{% set i = 3 -%}',
  '{{ q }}',
  '{{ loop.index }}',
  '{% raw %}',
  '{% endraw %}',
  '{',
  '}',
  '%}',
  '{% break %}',
];

/** A random sequence of text and tags; most are valid templates. */
export function document(next: (below: number) => number): string {
  const out: string[] = [];
  const open: string[] = [];
  for (let i = next(12); i >= 0; i -= 1) {
    const part = sources[next(sources.length)] ?? '';
    if (/end(if|for)/.test(part) && next(4) > 0) continue;
    const block = /\{%[-+]? (if|for)/.exec(part)?.[1];
    if (block !== undefined) open.push(block);
    out.push(part);
  }
  for (const block of open.reverse())
    out.push(`{%${next(2) === 0 ? '' : '-'} end${block} %}${next(2) === 0 ? '\n' : ''}`);
  return out.join('');
}
