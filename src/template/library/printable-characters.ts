/**
 * A table of the characters that Python's `repr` prints without escapes. It is built once.
 *
 * Source: https://docs.python.org/3/library/stdtypes.html#str.isprintable
 * Proof:  test/unit/template/rope.test.ts
 * @module
 */

const unprintable = /[\p{C}\p{Z}]/u;
const codePoints = 0x110000;
let table: Uint8Array | undefined;

function buildTable(): Uint8Array {
  const result = new Uint8Array(codePoints);
  for (let code = 0; code < codePoints; code += 1)
    result[code] = code === 0x20 || !unprintable.test(String.fromCodePoint(code)) ? 1 : 0;
  return result;
}

/** Returns what Python's `str.isprintable` returns for one code point. */
export function isPrintable(code: number): boolean {
  if (code < 0x7f) return code >= 0x20;
  table ??= buildTable();
  return table[code] === 1;
}

const shortEscapes: ReadonlyMap<number, string> = new Map([
  [9, '\\t'],
  [10, '\\n'],
  [13, '\\r'],
  [0x5c, '\\\\'],
]);

/** Returns the escape sequence for an unprintable code point or a backslash. */
export function escapeOf(code: number): string {
  const hex = (digits: number) => code.toString(16).padStart(digits, '0');
  return shortEscapes.get(code) ?? (code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`);
}
