/**
 * Dates of `strftime_now`.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDate } from '../../../src/template/library/strftime.ts';

const at = new Date(Date.UTC(2026, 0, 5, 13, 4, 9, 250));

test('dates are English and in UTC', () => {
  assert.equal(
    formatDate(at, '%d %b %Y, %B %A %H:%M:%S %I %p %y %j %-d %%'),
    '05 Jan 2026, January Monday 13:04:09 01 PM 26 005 5 %',
  );
  assert.equal(
    formatDate(at, '%e|%k|%l|%u|%w|%U|%W|%V|%G|%g|%C|%D|%F|%T|%R|%r|%h|%c|%x|%X|%Z|%z|%f'),
    ' 5|13| 1|1|1|01|01|02|2026|26|20|01/05/26|2026-01-05|13:04:09|13:04|01:04:09 PM|Jan|Mon Jan  5 13:04:09 2026|01/05/26|13:04:09|||250000',
  );
});

test('week numbers around new year as in Python', () => {
  // datetime(*d).strftime('%G %V %U %W %j %u') of Python 3.
  const known: readonly (readonly [number, number, number, string])[] = [
    [2021, 1, 3, '2020 53 01 00 003 7'],
    [2020, 12, 31, '2020 53 52 52 366 4'],
    [2024, 12, 30, '2025 01 52 53 365 1'],
    [2023, 1, 1, '2022 52 01 00 001 7'],
    [2018, 1, 1, '2018 01 00 01 001 1'],
  ];
  for (const [year, month, day, wanted] of known)
    assert.equal(formatDate(new Date(Date.UTC(year, month - 1, day, 23, 59)), '%G %V %U %W %j %u'), wanted);
});

test('an unknown code is refused, not printed verbatim', () => {
  for (const format of ['%Q', '%s', '%', '%-', '%_d', '%Ey', '%-B', '%\u00e9'])
    assert.throws(
      () => formatDate(at, format),
      (error: unknown) => (error as { code?: string }).code === 'TEMPLATE_UNSUPPORTED',
      format,
    );
});
