import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { jsonLimits, parseJson } from '../../../src/engine/bytes/json-parser.ts';
import type { JsonNode, JsonTree } from '../../../src/engine/bytes/json-tree.ts';
import { jsonKinds } from '../../../src/engine/bytes/json-tree.ts';
import { threadMs } from '../../support/time-bounds.ts';

/** Converts the tree to JavaScript values for comparison; the engine never does this. */
function value(tree: JsonTree, node: JsonNode): unknown {
  switch (tree.kind(node)) {
    case jsonKinds.null:
      return null;
    case jsonKinds.false:
      return false;
    case jsonKinds.true:
      return true;
    case jsonKinds.number:
      return tree.number(node);
    case jsonKinds.array:
      return [...tree.elements(node)].map((item) => value(tree, item));
    case jsonKinds.object:
      return Object.fromEntries(
        [...tree.pairs(node)].map(([key, item]) => [tree.text(key).toString(), value(tree, item)]),
      );
    default:
      return tree.text(node).toString();
  }
}

const parse = (text: string | Uint8Array) => parseJson(typeof text === 'string' ? Buffer.from(text) : text);
const read = (text: string) => value(parse(text), 0);
const code = (wanted: string) => (error: unknown) => {
  assert.equal((error as { code: string }).code, wanted);
  return true;
};

/** Every character of a string as `\uXXXX`. */
const escapeAll = (text: string) =>
  text.replace(
    /"(?:[^"\\]|\\.)*"/gs,
    (quoted) =>
      `"${Array.from({ length: (JSON.parse(quoted) as string).length }, (_, i) => `\\u${(JSON.parse(quoted) as string).charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`,
  );

test('what JSON.stringify writes parses as with JSON.parse: plain, spaced and fully escaped', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6, stringUnit: 'grapheme' }), (wanted) => {
      const text = JSON.stringify(wanted);
      const expected: unknown = JSON.parse(text);
      assert.deepEqual(read(text), expected);
      assert.deepEqual(read(` \t\r\n${JSON.stringify(wanted, null, 2)}\n`), expected);
      assert.deepEqual(read(escapeAll(text)), expected);
    }),
    { numRuns: 2000 },
  );
});

test('accepts exactly what JSON.parse accepts: random bytes and mutated documents', () => {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const agree = (bytes: Uint8Array) => {
    let wanted = true;
    try {
      const text = decoder.decode(bytes);
      JSON.parse(text);
      // Stricter than JSON.parse on purpose: no lone surrogates.
      if (/\\u[dD][89a-fA-F]/.test(text)) return;
    } catch {
      wanted = false;
    }
    let got = true;
    try {
      parse(bytes);
    } catch (error) {
      const { code: name } = error as { code: string };
      if (name === 'REQUEST_JSON_DUPLICATE_KEY' || name === 'REQUEST_JSON_LIMIT') return;
      assert.match(name, /^REQUEST_JSON_/);
      got = false;
    }
    assert.equal(got, wanted, Buffer.from(bytes).toString());
  };
  fc.assert(
    fc.property(
      fc.jsonValue({ stringUnit: 'binary' }),
      fc.nat(),
      fc.integer({ min: 0, max: 255 }),
      fc.nat({ max: 2 }),
      (seed, at, byte, how) => {
        const bytes = Buffer.from(JSON.stringify(seed));
        const place = at % bytes.length;
        if (how === 0) bytes[place] = byte;
        agree(
          how === 1
            ? bytes.subarray(0, place)
            : how === 2
              ? Buffer.concat([bytes.subarray(0, place), Buffer.of(byte), bytes.subarray(place)])
              : bytes,
        );
      },
    ),
    { numRuns: 5000 },
  );
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...'{}[]":,\\u0d8n -1.eE+tfalse \t'.split('')), { maxLength: 12 }), (parts) =>
      agree(Buffer.from(parts.join(''))),
    ),
    { numRuns: 20_000 },
  );
});

test('numbers have the value that JSON.parse gives them', () => {
  for (const text of [
    '0',
    '-0',
    '1',
    '-1',
    '0.1',
    '1e2',
    '1E+2',
    '1.5e-7',
    '123456789012345678',
    '1.7976931348623157e308',
    '5e-324',
    '9007199254740993',
  ]) {
    assert.equal(read(text), JSON.parse(text), text);
  }
  for (const text of ['01', '-', '+1', '.5', '1.', '1e', '1e+', '0x10', 'NaN', 'Infinity', '-Infinity', '1_000'])
    assert.throws(() => parse(text), code('REQUEST_JSON_MALFORMED'), text);
});

test('X-01 a number that overflows a double or is too long has no value', () => {
  for (const text of ['1e400', '-1e999999999', '9'.repeat(1_000_000)]) {
    const tree = parse(text);
    assert.equal(tree.number(0), undefined);
  }
});

test('X-10 invalid UTF-8, lone surrogates, control characters and truncated escapes are refused; NUL as an escape is text', () => {
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
    assert.throws(
      () => parse(Buffer.concat([Buffer.from('["'), Buffer.from(bytes), Buffer.from('"]')])),
      code('REQUEST_JSON_ENCODING'),
    );
  }
  for (const text of [
    '"\\ud800"',
    '"\\udc00"',
    '"\\ud800\\ud800"',
    '"\\ud800x"',
    '"\\ud800\\n"',
    '"\\u12"',
    '"\\u12g4"',
    '"\\x41"',
    '"\\',
    '"\\u',
    '"abc',
    '"a\nb"',
    '"a\0b"',
    '"\\\u00e9"',
    '\ufeff{}',
  ]) {
    assert.throws(() => parse(text), code('REQUEST_JSON_MALFORMED'), JSON.stringify(text));
  }
  assert.equal(read('"a\\u0000b\\ud83d\\ude00\\/"'), 'a\0b\u{1f600}/');
});

test('L1-27 depth, values, keys and key length are bounded', () => {
  const deep = (n: number) => '['.repeat(n) + ']'.repeat(n);
  assert.doesNotThrow(() => parse(deep(jsonLimits.depth)));
  assert.throws(() => parse(deep(jsonLimits.depth + 1)), code('REQUEST_JSON_LIMIT'));
  assert.throws(() => parse('['.repeat(1_000_000)), code('REQUEST_JSON_LIMIT'));
  assert.throws(() => parse('{"a":'.repeat(1_000_000)), code('REQUEST_JSON_LIMIT'));
  const million = `{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":0`).join(',')}}`;
  assert.throws(() => parse(million), code('REQUEST_JSON_LIMIT'));
  assert.throws(() => parse(`[${'0,'.repeat(1_000_000)}0]`), code('REQUEST_JSON_LIMIT'));
  assert.throws(() => parse(`{"${'k'.repeat(jsonLimits.keyBytes + 1)}":1}`), code('REQUEST_JSON_LIMIT'));
  assert.doesNotThrow(() => parse(`{"${'k'.repeat(jsonLimits.keyBytes)}":1}`));
});

test('L1-28 __proto__ and constructor are ordinary keys', () => {
  const tree = parse('{"__proto__":{"stream":true},"constructor":{"prototype":{"x":1}}}');
  const keys = [...tree.pairs(0)].map(([key]) => key);
  assert.ok(tree.is(keys[0]!, '__proto__'));
  assert.ok(tree.is(keys[1]!, 'constructor'));
  assert.equal(({} as { stream?: unknown }).stream, undefined);
});

test('L1-29 colliding keys and keys with long common prefixes cost no more than others', () => {
  const objects = (key: (i: number) => string) =>
    `[${Array.from({ length: 8 }, () => `{${Array.from({ length: 1000 }, (_, i) => `"${key(i)}":0`).join(',')}}`).join(',')}]`;
  const time = (text: string) => {
    const bytes = Buffer.from(text);
    let best = Infinity;
    for (let i = 0; i < 5; i += 1) {
      const started = threadMs();
      parse(bytes);
      best = Math.min(best, threadMs() - started);
    }
    return { best, bytes: bytes.length };
  };
  const hostile = time(objects((i) => 'p'.repeat(100) + String(i).padStart(6, '0')));
  assert.ok(hostile.best < 250, `${hostile.best} ms for ${hostile.bytes} bytes`);
});

test('duplicate keys are refused, also if escaped differently', () => {
  for (const text of [
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"\\ud83d\\ude00":1,"\u{1f600}":2}',
    '{"":1,"":2}',
    '{"\\/":1,"/":2}',
  ])
    assert.throws(() => parse(text), code('REQUEST_JSON_DUPLICATE_KEY'), text);
  assert.doesNotThrow(() => parse('{"a":{"a":1},"b":{"a":1},"A":1,"ab":2}'));
});

test('an error names the offset, never the content', () => {
  const secret = 'secret-words-of-a-person';
  for (const text of [`{"${secret}":1,"${secret}":2}`, `["${secret}" ${secret}]`, `"${secret}`, `{"${secret}":tru}`]) {
    assert.throws(
      () => parse(text),
      (error: unknown) => {
        assert.doesNotMatch(String(error) + JSON.stringify(error), /secret/);
        return true;
      },
    );
  }
});
