import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { plainText, PlainTextStream } from '../../../src/cli/terminal.ts';

test('X-14 control sequences of the output never reach the terminal', () => {
  const cases: [string, string][] = [
    ['a\u001b[31mb\u001b[0mc', 'abc'],
    ['\u001b]52;c;c2VjcmV0\u0007x', 'x'],
    ['\u001b]8;;https://evil.example\u001b\\click\u001b]8;;\u001b\\', 'click'],
    ['\u001bP1$r\u001b\\y', 'y'],
    ['\u009b2Jz', 'z'],
    ['one\r\ntwo\ttab\bback\u0000', 'one\ntwo\ttabback'],
    ['safe\u202egnp.exe', 'safegnp.exe'],
    ['über 日本 🙂', 'über 日本 🙂'],
  ];
  for (const [given, plain] of cases) assert.equal(plainText(given), plain);
});

test('X-14 a sequence cut between two pieces is taken out all the same', () => {
  const text = 'a\u001b[38;5;1mred\u001b]52;c;AAAA\u0007b\u001b[2Jc';
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 40 }), (cuts) => {
      const stream = new PlainTextStream();
      let out = '';
      for (let at = 0, i = 0; at < text.length; i += 1) {
        const cut = cuts[i % cuts.length]!;
        out += stream.push(text.slice(at, at + cut));
        at += cut;
      }
      assert.equal(out, 'aredbc');
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' })), (pieces) => {
      const stream = new PlainTextStream();
      const out = pieces.map((piece) => stream.push(piece)).join('');
      assert.doesNotMatch(out, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
    }),
  );
});
