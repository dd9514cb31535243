/**
 * Lexer and parser of chat templates: Jinja's grammar, bounds, and what is refused.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sourceLimits, tokenize } from '../../../src/template/syntax/lexer.ts';
import { parseSource } from '../../../src/template/syntax/parser.ts';
import { ours } from '../../templates/language.ts';

const text = (source: string) => {
  const outcome = ours(source);
  assert.ok('text' in outcome, `${source}: ${JSON.stringify(outcome)}`);
  return outcome.text;
};
const isInvalid = (error: unknown) => (error as { code?: string }).code === 'TEMPLATE_INVALID';

test('CR LF and CR are line breaks', () => {
  const source = 'a\n  {% if tr %}\nb\n  {% endif %}\n{{ "c\nd" }}\n';
  for (const end of ['\r\n', '\r']) assert.equal(text(source.replaceAll('\n', end)), text(source));
  assert.equal(text('a\r\n{% if tr %}\r\nb\r\n{% endif %}\r\nc\r\n'), 'a\nb\nc');
});

test('comparisons chain, and brackets break the chain', () => {
  assert.equal(
    text('{{ 3 > 2 > 1 }} {{ (3 > 2) > 1 }} {{ 1 < 3 > 2 != 5 }} {{ 1 == 1 in [1] }}'),
    'True False True True',
  );
});

test('tests take arguments with and without brackets', () => {
  assert.equal(
    text(
      '{{ s is eq("Hello World") }} {{ n is divisibleby 7 }} {{ n is divisibleby(3) }} {{ n is not in [1] }} {{ s is string and n is gt 3 }}',
    ),
    'True True False True True',
  );
});

test('operator precedence as in Jinja', () => {
  assert.equal(
    text(
      '{{ 1 ~ 2 + 3 if false else 1 + 2 * 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ not 1 == 2 }} {{ -n | abs }}',
    ),
    '19 4 64 True 7',
  );
});

test('characters, tokens and depth are bounded', () => {
  assert.throws(() => tokenize('x'.repeat(sourceLimits.characters + 1)), isInvalid);
  assert.throws(() => tokenize(`{{ ${'1,'.repeat(sourceLimits.tokens / 2)} }}`), isInvalid);
  for (const [open, close] of [
    ['{% if a %}', '{% endif %}'],
    ['{{ (', ''],
    ['{% for a in b %}', '{% endfor %}'],
  ] as const)
    assert.throws(() => parseSource(open.repeat(1000) + close.repeat(1000)), isInvalid);
  assert.throws(() => parseSource(`{{ ${'not '.repeat(1000)}a }}`), isInvalid);
  assert.throws(() => parseSource(`{{ ${'- '.repeat(1000)}a }}`), isInvalid);
});

test('unsupported statements are refused', () => {
  for (const source of [
    "{% include 'a' %}",
    "{% extends 'a' %}",
    "{% import 'a' as b %}",
    '{% block a %}{% endblock %}',
    '{% do a %}',
    '{% for a in b recursive %}{% endfor %}',
    '{% break %}',
    '{% for a in l %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}',
    '{% for a in l %}{% set b %}{% continue %}{% endset %}{% endfor %}',
    '{% set true = 1 %}',
    '{% set a.b.c = 1 %}',
    '{% set a[0] = 1 %}',
    '{% call a %}{% endcall %}',
    '{% macro f(a=1, b) %}{% endmacro %}',
  ])
    assert.throws(() => parseSource(source), isInvalid, source);
});
