/**
 * Escapes and unescapes JSON strings as bytes.
 *
 * Trust:  the input of `unescapeJson` has been checked by the parser. `escapeJson` accepts any bytes; those above 0x7f
 *         are left unchanged, so valid UTF-8 stays valid.
 * Source: RFC 8259 section 7
 * Proof:  test/unit/engine/json-parser.test.ts, test/unit/engine/response-json.test.ts
 * @module
 */

/** Returns the value of a hexadecimal digit, or -1. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** Returns the value of the four digits after `\\u`, or -1. */
export function hexUnit(body: Uint8Array, at: number): number {
  let unit = 0;
  for (let i = 0; i < 4; i += 1) {
    const digit = hexDigit(body[at + i] ?? 0);
    if (digit < 0) return -1;
    unit = (unit << 4) | digit;
  }
  return unit;
}

/** Returns whether a UTF-16 code unit is the first of a surrogate pair. */
export const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
/** Returns whether a UTF-16 code unit is the second of a surrogate pair. */
export const isLowSurrogate = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** Maps the letter after a backslash to the byte it stands for; 0 if it is not an escape. */
export const shortEscapes = new Uint8Array(128);
for (const [letter, byte] of [
  ['"', 0x22],
  ['\\', 0x5c],
  ['/', 0x2f],
  ['b', 8],
  ['f', 12],
  ['n', 10],
  ['r', 13],
  ['t', 9],
] as const)
  shortEscapes[letter.charCodeAt(0)] = byte;

/** Decodes a checked string into `target`. @returns the decoded length, which is at most that of the escaped string */
export function unescapeJson(body: Uint8Array, from: number, to: number, target: Uint8Array): number {
  let length = 0;
  for (let at = from; at < to;) {
    const byte = body[at] ?? 0;
    if (byte !== 0x5c) {
      target[length++] = byte;
      at += 1;
      continue;
    }
    const letter = body[at + 1] ?? 0;
    if (letter !== 0x75) {
      target[length++] = shortEscapes[letter] ?? 0;
      at += 2;
      continue;
    }
    let code = hexUnit(body, at + 2);
    at += 6;
    if (isHighSurrogate(code)) {
      code = 0x10000 + ((code - 0xd800) << 10) + (hexUnit(body, at + 2) - 0xdc00);
      at += 6;
    }
    if (code < 0x80) target[length++] = code;
    else {
      if (code < 0x800) target[length++] = 0xc0 | (code >> 6);
      else {
        if (code < 0x10000) target[length++] = 0xe0 | (code >> 12);
        else {
          target[length++] = 0xf0 | (code >> 18);
          target[length++] = 0x80 | ((code >> 12) & 0x3f);
        }
        target[length++] = 0x80 | ((code >> 6) & 0x3f);
      }
      target[length++] = 0x80 | (code & 0x3f);
    }
  }
  return length;
}

const hexDigits = '0123456789abcdef';

/** Maps a byte to the letter after the backslash: 0 if it needs no escape, 0x75 for `\\u00xx`. */
const escapeLetters = new Uint8Array(256);
escapeLetters.fill(0x75, 0, 0x20);
for (const letter of '"\\bfnrt') escapeLetters[shortEscapes[letter.charCodeAt(0)] ?? 0] = letter.charCodeAt(0);

/** Returns the length that the bytes have after escaping. */
export function escapedJsonLength(bytes: Uint8Array): number {
  let length = bytes.length;
  for (let i = 0; i < bytes.length; i += 1) {
    const letter = escapeLetters[bytes[i] ?? 0] ?? 0;
    if (letter !== 0) length += letter === 0x75 ? 5 : 1;
  }
  return length;
}

/** Escapes bytes into `target` at `offset`. @returns the offset after them */
export function escapeJson(bytes: Uint8Array, target: Uint8Array, offset: number): number {
  let at = offset;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i] ?? 0;
    const letter = escapeLetters[byte] ?? 0;
    if (letter === 0) {
      target[at++] = byte;
      continue;
    }
    target[at++] = 0x5c;
    target[at++] = letter;
    if (letter === 0x75) {
      target[at++] = 0x30;
      target[at++] = 0x30;
      target[at++] = hexDigits.charCodeAt(byte >> 4);
      target[at++] = hexDigits.charCodeAt(byte & 15);
    }
  }
  return at;
}
