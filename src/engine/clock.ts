/**
 * `strftime_now` of chat templates: the date in UTC and in English, whatever the machine's language is.
 *
 * Source: https://docs.python.org/3/library/datetime.html#format-codes
 * Proof:  test/unit/engine/jinja.test.ts
 * @module
 */

const months = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];
const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

const two = (value: number) => String(value).padStart(2, '0');

const fields: ReadonlyMap<string, (at: Date) => string> = new Map<string, (at: Date) => string>([
  ['Y', (at) => String(at.getUTCFullYear())],
  ['y', (at) => two(at.getUTCFullYear() % 100)],
  ['m', (at) => two(at.getUTCMonth() + 1)],
  ['d', (at) => two(at.getUTCDate())],
  ['e', (at) => String(at.getUTCDate()).padStart(2)],
  ['-d', (at) => String(at.getUTCDate())],
  ['-m', (at) => String(at.getUTCMonth() + 1)],
  ['H', (at) => two(at.getUTCHours())],
  ['I', (at) => two(((at.getUTCHours() + 11) % 12) + 1)],
  ['M', (at) => two(at.getUTCMinutes())],
  ['S', (at) => two(at.getUTCSeconds())],
  ['p', (at) => (at.getUTCHours() < 12 ? 'AM' : 'PM')],
  ['B', (at) => months[at.getUTCMonth()] ?? ''],
  ['b', (at) => (months[at.getUTCMonth()] ?? '').slice(0, 3)],
  ['A', (at) => days[at.getUTCDay()] ?? ''],
  ['a', (at) => (days[at.getUTCDay()] ?? '').slice(0, 3)],
  ['F', (at) => at.toISOString().slice(0, 10)],
  ['T', (at) => at.toISOString().slice(11, 19)],
  ['Z', () => 'UTC'],
  ['z', () => '+0000'],
  ['%', () => '%'],
]);

/** Writes a moment as `format` says; codes that are not known stay as they are. */
export function formatTime(at: Date, format: string): string {
  return format.replace(/%(-?[A-Za-z%])/g, (whole, code: string) => fields.get(code)?.(at) ?? whole);
}
