/**
 * The counter of layer 6 as tables and as properties.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nextCount, isConfirmed } from '../../../src/layers/6-intrusion/confirmation-counter.ts';

/** The scan (from 1) that confirms, or 0. `D` detection, `c` clean. */
function confirmedAt(scans: string): number {
  let count = 0;
  for (const [index, scan] of [...scans].entries()) {
    count = nextCount(count, scan === 'D');
    if (isConfirmed(count)) return index + 1;
  }
  return 0;
}

const table: readonly (readonly [string, number, string])[] = [
  ['D', 0, 'one detection is not a violation'],
  ['DD', 2, 'two in a row are, at the second and not at a third'],
  ['DcD', 0, 'one clean scan between two gives a third chance'],
  ['DcDcD', 5, 'on and off again confirms (L6-21)'],
  ['DcDD', 4, 'on, off, on, on'],
  ['DccDccDccDcc', 0, 'one scan in three never confirms'],
  ['cccccDD', 7, 'clean scans give no credit'],
  ['', 0, 'nothing'],
];

for (const [scans, at, why] of table) {
  test(`L6-19 ${scans === '' ? 'no scan' : scans}: ${why}`, () => {
    assert.equal(confirmedAt(scans), at);
  });
}

test('property: two in a row always confirm, whatever came before', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (before) => {
      assert.notEqual(confirmedAt(`${before.map((hit) => (hit ? 'D' : 'c')).join('')}DD`), 0);
    }),
  );
});

test('property: a single detection among any number of clean scans never confirms', () => {
  fc.assert(
    fc.property(fc.nat(100), fc.nat(100), (before, after) => {
      assert.equal(confirmedAt(`${'c'.repeat(before)}D${'c'.repeat(after)}`), 0);
    }),
  );
});

test('property: the count stays within 0 and 4, and one more detection never confirms later', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }), fc.nat(59), (scans, place) => {
      let count = 0;
      for (const hit of scans) {
        count = nextCount(count, hit);
        assert.ok(count >= 0 && count <= 4);
        if (isConfirmed(count)) break;
      }
      const text = scans.map((hit) => (hit ? 'D' : 'c')).join('');
      const at = place % scans.length;
      const more = `${text.slice(0, at)}D${text.slice(at + 1)}`;
      const [first, second] = [confirmedAt(text), confirmedAt(more)];
      if (first !== 0) assert.ok(second !== 0 && second <= first);
    }),
  );
});
