/**
 * `strftime_now` for chat templates, in UTC and English regardless of the locale.
 *
 * Limits: UTC differs from transformers, which uses local time; the engine does not know the time zone. Unknown codes
 *         are refused.
 * Source: https://docs.python.org/3/library/datetime.html#format-codes, strftime(3) of glibc
 * Proof:  test/unit/template/strftime.test.ts
 * @module
 */
import { unsupported } from '../runtime/budget.ts';

const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

const dayMs = 86_400_000;

/** Returns the day of the year, counted from 0. */
const yearDay = (at: Date) => Math.floor((at.getTime() - Date.UTC(at.getUTCFullYear(), 0, 1)) / dayMs);
/** Returns the day of the week, from Monday (0) to Sunday (6). */
const mondayDay = (at: Date) => (at.getUTCDay() + 6) % 7;
/** Returns the Thursday of the same week, which determines the ISO 8601 year and week. */
const thursday = (at: Date) => new Date(at.getTime() + (3 - mondayDay(at)) * dayMs);
const hour12 = (at: Date) => ((at.getUTCHours() + 11) % 12) + 1;

/** Numeric codes with their width and fill character. */
const numbers: ReadonlyMap<string, readonly [value: (at: Date) => number, width: number, fill: string]> = new Map<
  string,
  readonly [(at: Date) => number, number, string]
>([
  ['Y', [(at) => at.getUTCFullYear(), 1, '0']],
  ['C', [(at) => Math.floor(at.getUTCFullYear() / 100), 2, '0']],
  ['y', [(at) => at.getUTCFullYear() % 100, 2, '0']],
  ['G', [(at) => thursday(at).getUTCFullYear(), 1, '0']],
  ['g', [(at) => thursday(at).getUTCFullYear() % 100, 2, '0']],
  ['m', [(at) => at.getUTCMonth() + 1, 2, '0']],
  ['d', [(at) => at.getUTCDate(), 2, '0']],
  ['e', [(at) => at.getUTCDate(), 2, ' ']],
  ['j', [(at) => yearDay(at) + 1, 3, '0']],
  ['H', [(at) => at.getUTCHours(), 2, '0']],
  ['k', [(at) => at.getUTCHours(), 2, ' ']],
  ['I', [hour12, 2, '0']],
  ['l', [hour12, 2, ' ']],
  ['M', [(at) => at.getUTCMinutes(), 2, '0']],
  ['S', [(at) => at.getUTCSeconds(), 2, '0']],
  ['u', [(at) => mondayDay(at) + 1, 1, '0']],
  ['w', [(at) => at.getUTCDay(), 1, '0']],
  ['U', [(at) => Math.floor((yearDay(at) + 7 - at.getUTCDay()) / 7), 2, '0']],
  ['W', [(at) => Math.floor((yearDay(at) + 7 - mondayDay(at)) / 7), 2, '0']],
  ['V', [(at) => Math.floor(yearDay(thursday(at)) / 7) + 1, 2, '0']],
]);

const texts: ReadonlyMap<string, (at: Date) => string> = new Map<string, (at: Date) => string>([
  ['B', (at) => months[at.getUTCMonth()] ?? ''],
  ['b', (at) => (months[at.getUTCMonth()] ?? '').slice(0, 3)],
  ['h', (at) => (months[at.getUTCMonth()] ?? '').slice(0, 3)],
  ['A', (at) => days[at.getUTCDay()] ?? ''],
  ['a', (at) => (days[at.getUTCDay()] ?? '').slice(0, 3)],
  ['p', (at) => (at.getUTCHours() < 12 ? 'AM' : 'PM')],
  ['P', (at) => (at.getUTCHours() < 12 ? 'am' : 'pm')],
  ['f', (at) => String(at.getUTCMilliseconds() * 1000).padStart(6, '0')],
  // Python's `datetime.now()` has no time zone.
  ['Z', () => ''],
  ['z', () => ''],
  ['n', () => '\n'],
  ['t', () => '\t'],
  ['%', () => '%'],
]);

/** Codes that expand to other codes. */
const composites: ReadonlyMap<string, string> = new Map([
  ['c', '%a %b %e %H:%M:%S %Y'],
  ['D', '%m/%d/%y'],
  ['F', '%Y-%m-%d'],
  ['R', '%H:%M'],
  ['r', '%I:%M:%S %p'],
  ['T', '%H:%M:%S'],
  ['x', '%m/%d/%y'],
  ['X', '%H:%M:%S'],
]);

function formatCode(at: Date, flag: string, code: string): string {
  const number = numbers.get(code);
  if (number !== undefined) {
    const [value, width, fill] = number;
    return flag === '-' ? String(value(at)) : String(value(at)).padStart(width, fill);
  }
  const text = texts.get(code);
  const parts = composites.get(code);
  if (flag !== '' || (text === undefined && parts === undefined))
    throw unsupported('calls strftime_now with an unknown code');
  return text?.(at) ?? formatDate(at, parts ?? '');
}

/**
 * Formats a date.
 * @throws `TEMPLATE_UNSUPPORTED` for an unknown code
 */
export function formatDate(at: Date, format: string): string {
  return format.replace(/%(-?)([^])?/g, (_, flag: string, code: string | undefined) =>
    formatCode(at, flag, code ?? ''),
  );
}
