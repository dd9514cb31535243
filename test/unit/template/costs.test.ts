/**
 * A template pays for every byte that it touches. Each operation runs on a small and on a large value; its cost must grow
 * with the value, so that no operation is free.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Budget } from '../../../src/template/runtime/budget.ts';
import { filterNames } from '../../../src/template/library/filters.ts';
import { globals } from '../../../src/template/runtime/globals.ts';
import { Evaluator } from '../../../src/template/runtime/evaluator.ts';
import { sourceLimits } from '../../../src/template/syntax/lexer.ts';
import { methodNames } from '../../../src/template/library/methods.ts';
import { parseSource } from '../../../src/template/syntax/parser.ts';
import { Rope } from '../../../src/template/runtime/rope.ts';
import { Scope } from '../../../src/template/runtime/scope.ts';
import { compileTemplate } from '../../../src/template/template.ts';
import { testNames } from '../../../src/template/library/jinja-tests.ts';
import type { Value } from '../../../src/template/runtime/value.ts';
import { Dict, List } from '../../../src/template/runtime/value.ts';
import { threadMs } from '../../support/time-bounds.ts';

const steps = 50_000_000;

/** Returns the cost of a source without its variables; a refusal counts up to the point where it happens. */
function costOf(source: string, variables: Readonly<Record<string, Value>>): { cost: number; refused: boolean } {
  const budget = new Budget(steps, 1 << 26);
  const render = { budget, wipeLater: () => undefined };
  const scope = new Scope();
  for (const [name, value] of [...globals(render, new Date(0)), ...Object.entries(variables)]) scope.set(name, value);
  const body = parseSource(source);
  let refused = false;
  try {
    new Evaluator(render).run(body, scope);
  } catch (error) {
    if ((error as { code?: string }).code !== 'TEMPLATE_UNSUPPORTED') throw error;
    refused = true;
  }
  return { cost: steps - budget.remaining, refused };
}

/** Values of a given size. `same` equals `x` in other memory; `y` differs in its last character only. */
function variablesOf(size: number, message: boolean): Record<string, Value> {
  const text = (value: string) => (message ? Rope.fromMessage(Buffer.from(value)) : value);
  return {
    x: text('a'.repeat(size)),
    same: text('a'.repeat(size)),
    y: text(`${'a'.repeat(size - 1)}b`),
    digits: text('1'.repeat(size)),
    lines: text('a\n'.repeat(size / 2)),
    words: text('ab '.repeat(size / 3)),
    blank: text(' '.repeat(size)),
    quotes: text('"'.repeat(size)),
    l: new List(Array.from({ length: size }, (_, i) => i)),
    k: new List(Array.from({ length: size }, (_, i) => i)),
    texts: new List(Array.from({ length: size }, () => 'a')),
    d: new Dict(Array.from({ length: size }, (_, i) => [`k${i}`, i] as const)),
    c: new Dict(Array.from({ length: size }, (_, i) => [`k${i}`, i] as const)),
    dicts: new List(Array.from({ length: size }, (_, i) => new Dict([['r', i]]))),
  };
}

/** Expressions that apply each filter to a large value. */
const filterForms: Readonly<Record<string, readonly string[]>> = {
  replace: ['x | replace("a", "b")', 'x | replace("b", x)'],
  join: ['texts | join', 'texts | join(",")'],
  map: ['l | map("string")', 'dicts | map(attribute="r")'],
  select: ['l | select', 'l | select("odd")'],
  reject: ['l | reject'],
  selectattr: ['dicts | selectattr("r")'],
  rejectattr: ['dicts | rejectattr("r", "gt", 3)'],
  sort: ['l | sort', 'texts | sort'],
  unique: ['texts | unique'],
  min: ['l | min'],
  max: ['l | max'],
  list: ['l | list', 'd | list'],
  first: ['l | first'],
  last: ['l | last'],
  reverse: ['l | reverse', 'x | reverse'],
  dictsort: ['d | dictsort', 'd | dictsort(by="value")'],
  items: ['d | items'],
  keys: ['d | keys'],
  values: ['d | values'],
  tojson: [
    'x | tojson',
    'quotes | tojson',
    'l | tojson',
    'd | tojson',
    'd | tojson(sort_keys=true)',
    'l | tojson(indent=2)',
  ],
  string: ['l | string', 'd | string', '[quotes] | string'],
  safe: ['l | safe'],
  upper: ['x | upper'],
  lower: ['x | lower'],
  title: ['x | title', 'words | title'],
  capitalize: ['x | capitalize'],
  trim: ['blank | trim', 'x | trim("a")', 'l | trim'],
  length: ['x | length'],
  count: ['x | count'],
  indent: ['lines | indent', 'x | indent'],
  default: ['l | default | string'],
  d: ['l | d | string'],
};
/** These read one number or one text of bounded length. */
const flatFilters = ['int', 'float', 'abs'];
const methodForms: Readonly<Record<string, readonly string[]>> = {
  split: ['x.split("b")', 'x.split("a")', 'words.split()'],
  rsplit: ['x.rsplit("b", 1)', 'x.rsplit("a", 1)'],
  startswith: ['x.startswith(y)'],
  endswith: ['x.endswith(same)'],
  removeprefix: ['x.removeprefix(same)'],
  removesuffix: ['x.removesuffix(same)'],
  replace: ['x.replace("a", "b")', 'x.replace("b", "c")'],
  find: ['x.find("b")', 'y.find("b")'],
  count: ['x.count("a")', 'x.count("b")'],
  join: ['"".join(texts)', 'x.join(["a", "b"])'],
  format: ['x.format(1)', '"{}".format(l)'],
  strip: ['blank.strip()'],
  lstrip: ['blank.lstrip()'],
  rstrip: ['blank.rstrip()'],
  isdigit: ['digits.isdigit()'],
  splitlines: ['lines.splitlines()', 'x.splitlines()'],
  upper: ['x.upper()'],
  lower: ['x.lower()'],
  title: ['x.title()'],
  capitalize: ['x.capitalize()'],
  islower: ['x.islower()'],
  isupper: ['x.isupper()'],
};
const listForms: Readonly<Record<string, readonly string[]>> = {
  pop: ['l.pop(0)'],
  index: [`l.index(${-1})`],
  count: ['l.count(1)'],
};
const dictForms: Readonly<Record<string, readonly string[]>> = {
  items: ['d.items()'],
  keys: ['d.keys()'],
  values: ['d.values()'],
  copy: ['d.copy()'],
  get: ['d.get(x)'],
  pop: ['d.pop(x, 1)'],
};
const flatMethods = ['append'];
const testForms: Readonly<Record<string, readonly string[]>> = {
  upper: ['x is upper'],
  lower: ['x is lower'],
  in: ['"b" is in(x)', '-1 is in(l)'],
  eq: ['x is eq(same)', 'l is eq(k)', 'd is eq(c)'],
  equalto: ['x is equalto(same)'],
  '==': [],
  ne: ['x is ne(same)'],
  '!=': [],
  gt: ['x is gt(same)'],
  greaterthan: ['x is greaterthan(same)'],
  '>': [],
  ge: ['x is ge(same)'],
  '>=': [],
  lt: ['x is lt(same)'],
  lessthan: ['x is lessthan(y)'],
  '<': [],
  le: ['x is le(same)'],
  '<=': [],
};
const flatTests = [
  'defined',
  'undefined',
  'none',
  'string',
  'mapping',
  'sequence',
  'iterable',
  'number',
  'integer',
  'float',
  'boolean',
  'true',
  'false',
  'odd',
  'even',
  'divisibleby',
  'callable',
  'sameas',
];
const operators = [
  'x == same',
  'x != y',
  'x < same',
  'x <= y',
  'x > y',
  'x >= same',
  '"b" in x',
  'x in same',
  'x not in y',
  'x in d',
  'x in texts',
  '-1 in l',
  'l == k',
  'd == c',
  'd["q" ~ x]',
  'x + same',
  'x ~ same',
  '"a" * (l | length)',
  'x * 2',
  'l * 2',
  'l + k',
  'x[1:-1]',
  'x[:-1]',
  'x[-1:] ~ x[(l | length) - 1]',
  'x[::-1]',
  'x[::2]',
  'l[1:]',
  'l[::-1]',
  'l[::2]',
  'range(10000) | list',
  '[x, x] | join',
  'l ~ ""',
  'd ~ ""',
  'dict(d)',
  'dict(d.items())',
  'namespace(d)',
];
const statements = [
  '{% for i in l %}{% endfor %}',
  '{% for i in d %}{% endfor %}',
  '{% for i in texts if i %}{% endfor %}',
  '{{ l }}',
  '{{ d }}',
  '{% set a %}{{ x }}{% endset %}',
  '{% filter upper %}{{ x }}{% endfilter %}',
  '{% macro f() %}{{ varargs }}{% endmacro %}{{ f(*l) }}',
  '{% macro f() %}{{ kwargs | length }}{% endmacro %}{{ f(**d) }}',
  '{{ x }}{{ x }}',
];

const every = [
  ...filterNames.filter((name) => !flatFilters.includes(name)).map((name) => [name, filterForms[name]] as const),
  ...methodNames.text.map((name) => [name, methodForms[name]] as const),
  ...methodNames.list.filter((name) => !flatMethods.includes(name)).map((name) => [name, listForms[name]] as const),
  ...methodNames.dict.map((name) => [name, dictForms[name]] as const),
  ...testNames.filter((name) => !flatTests.includes(name)).map((name) => [name, testForms[name]] as const),
];

test('every filter, method and test that reads large values is in the table', () => {
  assert.deepEqual(
    every.filter(([, forms]) => forms === undefined).map(([name]) => name),
    [],
  );
});

test('the cost of an operation is proportional to what it touches', () => {
  const sources = [
    ...every.flatMap(([, forms]) => (forms ?? []).map((form) => `{% set r = ${form} %}`)),
    ...operators.map((form) => `{% set r = ${form} %}`),
    ...statements,
  ];
  const large = 3000;
  for (const message of [false, true]) {
    for (const source of sources) {
      const small = costOf(source, variablesOf(large / 10, message));
      const big = costOf(source, variablesOf(large, message));
      // An immediate refusal has touched nothing; `range` has one size.
      if (big.refused || /range\(10000\)/.test(source)) continue;
      assert.ok(
        big.cost >= large / 64,
        `${source} on ${large} ${message ? 'bytes of a message' : 'characters'} costs ${big.cost}`,
      );
      assert.ok(
        big.cost - small.cost >= (large * 0.75) / 64,
        `${source}: ${small.cost} for a tenth, ${big.cost} for all`,
      );
    }
  }
});

test('a small value costs little, so ordinary templates are not refused', () => {
  for (const source of ['{{ x | trim }}', '{{ x == same }}', '{{ x.split("b")[0] }}', '{{ d["k1"] }}'])
    assert.ok(costOf(source, variablesOf(12, true)).cost < 40, source);
});

test('no text is created or read that is longer than the limit', () => {
  const budget = new Budget(1 << 30, 1000);
  for (const pay of ['scan', 'walk'] as const) {
    budget[pay](1000);
    assert.throws(
      () => {
        budget[pay](1001);
      },
      (error: unknown) => (error as { code?: string }).code === 'TEMPLATE_LIMIT',
    );
  }
});

test('time is bounded by the clock, independent of steps', () => {
  let ms = 0;
  const clock = () => (ms += 1000);
  assert.throws(
    () =>
      compileTemplate(
        '{% for a in range(9999) %}{{ a }}{% endfor %}{{ messages[0].content }}',
        { bos: '', eos: '' },
        clock,
      ),
    (error: unknown) =>
      (error as { code?: string; message?: string }).code === 'TEMPLATE_LIMIT' && /too long/.test(String(error)),
  );
});

/** Fragments that make a backtracking parser slow when repeated. */
const repeated = [
  'from ',
  'now ',
  '{{',
  '{%',
  '{#',
  '{# ',
  '#}',
  '}}',
  '%}',
  '{% raw %}',
  '{% endraw %}',
  '{%- ',
  '{{ "',
  "{{ '",
  '\\',
  '{{ "\\',
  '{{ 1.',
  '{{ 1e',
  '{{ 1_',
  '1_',
  '{{ a.',
  '{{ a|',
  '{{ (',
  '{{ [',
  '{{ {',
  '{{ a if ',
  '{{ not ',
  '{{ -',
  '{% if a %}',
  '{% for a in b %}',
  '{% set a %}',
  '{% macro a() %}',
  '{% generation %}',
  ' {%',
  ' \n',
  '\n',
  '\r',
  '\r\n',
  ' ',
  '\t{%',
  '{{ a }} ',
  '{{- a -}} ',
  '{% set a = 1 %}\n ',
  ' -%}',
  '-}}',
  'range(',
  'range( ',
  '__',
  '__a',
  'data:',
  'data:a',
  'https:',
  '\\x41',
  'import',
  '{% include',
  '\u200b',
  'strftime_now if ',
  'if now ',
];

test('parsing is linear for every repeated fragment', () => {
  for (const unit of repeated) {
    for (const prefix of ['', '{{ ', '{% ', '{{ "', '{% raw %}', '{#']) {
      const source = prefix + unit.repeat(Math.floor((sourceLimits.characters / 4 - prefix.length) / unit.length));
      const started = threadMs();
      try {
        parseSource(source);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'TEMPLATE_INVALID', JSON.stringify(prefix + unit));
      }
      // A quadratic pattern takes many seconds here.
      const took = threadMs() - started;
      assert.ok(took < 3000, `${JSON.stringify(prefix + unit)} took ${took} ms`);
    }
  }
});

/** Sources with many different names, for checks that compare each name with all before it. */
const distinct: Readonly<Record<string, (names: readonly string[]) => string>> = {
  'named arguments of a call': (names) => `{{ f(${names.map((name) => `${name}=1`).join(',')}) }}`,
  'named arguments of a filter': (names) => `{{ x | f(${names.map((name) => `${name}=1`).join(',')}) }}`,
  'keys of a dict': (names) => `{{ {${names.map((name) => `"${name}":1`).join(',')}} }}`,
  'targets of a loop': (names) => `{% for ${names.join(',')} in x %}{% endfor %}`,
  'targets of set': (names) => `{% set ${names.join(',')} = x %}`,
  'variables of with': (names) => `{% with ${names.map((name) => `${name}=1`).join(',')} %}{% endwith %}`,
  macros: (names) =>
    names
      .slice(0, names.length / 4)
      .map((name) => `{% macro ${name}() %}{% endmacro %}`)
      .join(''),
};

test('parsing many different names is linear, wherever a template lists them', () => {
  // Four characters each, starting with a letter.
  const names = Array.from({ length: 25_000 }, (_, i) => (10 * 36 ** 3 + i).toString(36));
  const ms = (source: string) => {
    const started = threadMs();
    parseSource(source);
    return threadMs() - started;
  };
  for (const [what, write] of Object.entries(distinct)) {
    // A quadratic check takes about 2,500 ms.
    const took = ms(write(names));
    assert.ok(took < 1000, `${what}: ${took} ms`);
  }
});

test('a macro has a bounded number of parameters', () => {
  const write = (count: number) => Array.from({ length: count }, (_, i) => `a${i}`).join(',');
  for (const source of [
    (names: string) => `{% macro f(${names}) %}{% endmacro %}`,
    (names: string) => `{% call(${names}) f() %}{% endcall %}`,
  ]) {
    parseSource(source(write(256)));
    assert.throws(
      () => parseSource(source(write(257))),
      (error: unknown) => (error as { code?: string }).code === 'TEMPLATE_INVALID',
    );
  }
});

test('each call pays for the arguments that it binds or copies', () => {
  const rounds = 100;
  const names = Array.from({ length: 250 }, (_, i) => `a${i}`);
  const ones = names.map(() => '1').join(',');
  const loop = (body: string) => `{% for i in range(${rounds}) %}${body}{% endfor %}`;
  const d = new Dict(names.map((name) => [name, 1] as const));
  const many = new List(Array.from({ length: rounds }, () => new List([])));
  const rows: readonly (readonly [source: string, least: number])[] = [
    [`{% macro f(${names.join(',')}) %}{% endmacro %}${loop('{{ f() }}')}`, 250],
    [`{% macro f(${names.join(',')}) %}{% endmacro %}${loop('{{ f(**d) }}')}`, 4 * 250],
    [`{% macro f() %}{{ varargs | length }}{% endmacro %}${loop(`{{ f(${ones}) }}`)}`, 3 * 250],
    [`{% macro f() %}{{ kwargs | length }}{% endmacro %}${loop('{{ f(**d) }}')}`, 4 * 250],
    [
      `{% macro f() %}{{ caller(${ones}) }}{% endmacro %}${loop(`{% call(${names.join(',')}) f() %}{% endcall %}`)}`,
      4 * 250,
    ],
    [`{% set r = many | map("select", "eq", ${ones}) | list %}`, 250],
    [`{% set r = many | map("map", "default", ${ones}) | list %}`, 250],
  ];
  for (const [source, least] of rows) {
    const { cost } = costOf(source, { d, many });
    assert.ok(cost >= rounds * least, `${source.slice(0, 40)}...${source.slice(-60)} costs ${cost}`);
  }
});

test('the values that a template can keep are bounded, independent of steps', () => {
  const row = (one: string) => `[${Array.from({ length: 64 }, () => one).join(',')}]`;
  for (const body of [
    `{% set _ = l.append(${row('{}')}) %}`,
    '{% macro g() %}{% endmacro %}{% set _ = l.append(g) %}',
    '{% set _ = l.append(loop) %}',
  ]) {
    const source = `{% set l = [] %}{% for i in range(10000) %}{% for j in range(1000) %}${body}{% endfor %}{% endfor %}`;
    assert.throws(
      () => costOf(source, {}),
      (error: unknown) =>
        (error as { code?: string }).code === 'TEMPLATE_LIMIT' && /too many values/.test(String(error)),
      body,
    );
  }
});

test('searches with many near matches stay fast', () => {
  const hay = `${'a'.repeat(499)}b`.repeat(2000);
  const needles = [
    'a'.repeat(600),
    `b${'a'.repeat(600)}`,
    `${'a'.repeat(600)}b`,
    `${'a'.repeat(300)}b${'a'.repeat(400)}`,
    'ab'.repeat(300),
  ];
  for (const message of [false, true]) {
    for (const needle of needles) {
      const variables = {
        x: message ? Rope.fromMessage(Buffer.from(hay)) : hay,
        n: message ? Rope.fromMessage(Buffer.from(needle)) : needle,
      };
      const started = threadMs();
      for (const form of ['n in x', 'x.find(n)', 'x.count(n)', 'x.split(n) | length', 'x.replace(n, "c") | length'])
        costOf(`{% set r = ${form} %}`, variables);
      const took = threadMs() - started;
      assert.ok(took < 5000, `${needle.slice(0, 3)}... took ${took} ms`);
    }
  }
});
