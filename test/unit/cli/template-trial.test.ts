import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unusualTemplate } from '../../../src/cli/model/inspect.ts';
import { tryTemplate } from '../../../src/cli/model/template-trial.ts';
import { threadMs } from '../../support/time-bounds.ts';

const specials = { bos: '<s>', eos: '</s>' };
const loop = '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}';

test('a template that renders a conversation is taken; what it refuses is said', () => {
  assert.deepEqual(tryTemplate(loop, specials), []);
  assert.deepEqual(
    tryTemplate(`{% if messages | length > 1 %}{{ raise_exception('one only') }}{% endif %}${loop}`, specials),
    ['the chat template refuses a conversation of system, user and assistant'],
  );
});

test('a template that cannot be served is not approved, and the reason is ours', () => {
  for (const [source, words] of [
    ['{% if %}', /cannot be parsed/],
    ['{{ messages | wordcount }}', /uses the filter wordcount/],
    ["{{ strftime_now('%Q') }}" + loop, /calls strftime_now with an unknown code/],
    ['nothing of it', /leaves out what the user says/],
    ['{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}', /too many steps/],
    [
      '{% for a in range(9999) %}{% set x = ("a" * 100000) == ("a" * 100000) %}{% endfor %}' + loop,
      /too many steps|too long/,
    ],
    [loop + 'x'.repeat(300_000), /too long/],
    ["{{ raise_exception('secret') }}", /rejects these messages/],
  ] as const) {
    assert.throws(
      () => tryTemplate(source, specials),
      (error: unknown) => {
        const { code, message } = error as { code: string; message: string };
        assert.equal(code, 'L4_MODEL_TEMPLATE');
        assert.match(message, words);
        assert.doesNotMatch(message, /secret/);
        return true;
      },
    );
  }
});

test('looking for odd things is linear in the template, up to the largest that a file may hold', () => {
  const size = 1 << 20;
  for (const unit of [
    'from ',
    'now ',
    'strftime_now ',
    '{% from ',
    '{%',
    '{% \n',
    '__',
    '__a',
    '_',
    'range(',
    'range( ',
    'range(1',
    'data:',
    'data:a',
    '<script',
    '\\x41\\',
    '\\x41',
    'base64',
    ' ',
    '\u200b',
    'https:/',
    'import include ',
  ]) {
    const started = threadMs();
    unusualTemplate(unit.repeat(size / unit.length));
    // A quadratic pattern takes minutes here.
    const took = threadMs() - started;
    assert.ok(took < 5000, `${JSON.stringify(unit)} took ${took} ms`);
  }
});

test('unusual templates are reported', () => {
  const signs = (source: string) => unusualTemplate(source).join('; ');
  assert.match(signs("{%- include 'x' %}"), /loads other templates/);
  assert.match(signs("{% set d = strftime_now('%Y') %}{% if d > 2026 %}"), /depend on the date/);
  assert.equal(signs('{% for m in messages %}{{ m.content }}{% endfor %} from import'), '');
});
