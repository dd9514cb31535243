import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StopMatcher } from '../../../src/engine/bytes/stop-matcher.ts';

function run(text: Buffer, stops: readonly Uint8Array[], cuts: readonly number[]): { text: Buffer; stopped: boolean } {
  const matcher = new StopMatcher(stops);
  const out: Buffer[] = [];
  for (let at = 0, i = 0; at < text.length; i += 1) {
    const size = cuts[i % cuts.length]!;
    const result = matcher.push(text.subarray(at, at + size));
    out.push(Buffer.from(result.emit));
    if (result.stopped) return { text: Buffer.concat(out), stopped: true };
    at += size;
  }
  out.push(Buffer.from(matcher.flush()));
  return { text: Buffer.concat(out), stopped: false };
}

/** The same over the whole text. */
function plain(text: string, stops: readonly string[]): { text: Buffer; stopped: boolean } {
  for (let end = 1; end <= text.length; end += 1) {
    const hits = stops.filter((stop) => stop !== '' && text.slice(0, end).endsWith(stop));
    if (hits.length > 0)
      return {
        text: Buffer.from(text.slice(0, end - Math.max(...hits.map((hit) => hit.length))), 'latin1'),
        stopped: true,
      };
  }
  return { text: Buffer.from(text, 'latin1'), stopped: false };
}

const word = (max: number) => fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: max });

test('the result does not depend on how the text is split', () => {
  fc.assert(
    fc.property(
      word(40),
      fc.array(word(6), { maxLength: 4 }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
      (text, stops, cuts) => {
        assert.deepEqual(
          run(
            Buffer.from(text),
            stops.map((s) => Buffer.from(s)),
            cuts,
          ),
          plain(text, stops),
        );
      },
    ),
    { numRuns: 10_000 },
  );
});

test('bytes that cannot begin a stop string are emitted at once, others are held back', () => {
  const matcher = new StopMatcher([Buffer.from('###'), Buffer.from('END')]);
  assert.equal(matcher.push(Buffer.from('hello ')).emit.toString(), 'hello ');
  assert.equal(matcher.push(Buffer.from('E')).emit.length, 0);
  assert.equal(matcher.push(Buffer.from('N')).emit.length, 0);
  assert.equal(matcher.push(Buffer.from('E')).emit.toString(), 'EN');
  const last = matcher.push(Buffer.from('ND of it'));
  assert.deepEqual([last.emit.length, last.stopped], [0, true]);
  assert.equal(matcher.push(Buffer.from('more')).emit.length, 0);
  assert.equal(matcher.flush().length, 0);
});

test('a stop string of multi-byte characters leaves whole characters', () => {
  const matcher = new StopMatcher([Buffer.from('\u{1f6d1}')]);
  const bytes = Buffer.from('ok \u{1f600}\u{1f6d1} no');
  const shown: Buffer[] = [];
  for (const byte of bytes) {
    const result = matcher.push(Buffer.of(byte));
    shown.push(Buffer.from(result.emit));
    if (result.stopped) break;
  }
  assert.equal(Buffer.concat(shown).toString(), 'ok \u{1f600}');
});

test('without stop strings everything passes', () => {
  assert.deepEqual(run(Buffer.from('abc'), [], [1]), { text: Buffer.from('abc'), stopped: false });
});
