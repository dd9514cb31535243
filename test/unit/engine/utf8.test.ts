import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { test } from 'node:test';
import fc from 'fast-check';
import { Utf8Holdback } from '../../../src/engine/bytes/utf8.ts';

function run(bytes: Uint8Array, cuts: readonly number[]): Buffer {
  const holdback = new Utf8Holdback();
  const out: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i += 1) {
    const size = cuts[i % cuts.length]!;
    const part = Buffer.from(holdback.push(bytes.subarray(at, at + size)));
    assert.ok(isUtf8(part), 'every part is whole characters');
    assert.ok(holdback.held < 4);
    out.push(part);
    at += size;
  }
  out.push(Buffer.from(holdback.flush()));
  return Buffer.concat(out);
}

const decode = (bytes: Uint8Array) => Buffer.from(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes));
const cuts = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 8 });

test('text is unchanged, however it is split', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), cuts, (text, at) =>
      assert.deepEqual(run(Buffer.from(text), at), Buffer.from(Buffer.from(text).toString())),
    ),
    { numRuns: 2000 },
  );
});

test('any bytes decode as with a WHATWG decoder, however they are split', () => {
  const near = fc
    .array(
      fc.constantFrom(
        0x41,
        0x7f,
        0x80,
        0x8f,
        0x90,
        0x9f,
        0xa0,
        0xbf,
        0xc0,
        0xc2,
        0xdf,
        0xe0,
        0xe2,
        0xed,
        0xef,
        0xf0,
        0xf3,
        0xf4,
        0xf5,
        0xff,
      ),
      { maxLength: 40 },
    )
    .map((list) => Uint8Array.from(list));
  fc.assert(
    fc.property(fc.oneof(near, fc.uint8Array({ maxLength: 60 })), cuts, (bytes, at) =>
      assert.deepEqual(run(bytes, at), decode(bytes)),
    ),
    { numRuns: 5000 },
  );
});

test('a character is not emitted before its last byte', () => {
  const holdback = new Utf8Holdback();
  const [a, b, c, d] = Buffer.from('\u{1f512}');
  assert.equal(holdback.push(Uint8Array.of(0x78, a!, b!)).toString(), 'x');
  assert.equal(holdback.push(Uint8Array.of(c!)).length, 0);
  assert.equal(holdback.held, 3);
  assert.equal(holdback.push(Uint8Array.of(d!)).toString(), '\u{1f512}');
  assert.equal(holdback.held, 0);
});

test('dispose overwrites the last view', () => {
  const holdback = new Utf8Holdback();
  const view = holdback.push(Buffer.from('plain words'));
  holdback[Symbol.dispose]();
  assert.ok(view.every((byte) => byte === 0));
});
