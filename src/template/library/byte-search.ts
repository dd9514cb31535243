/**
 * Where a pattern stands in bytes, in time that grows with both lengths added, not multiplied.
 *
 * The search of V8 and Node is fast for what is short, and up to 500 times slower than that for long patterns that
 * nearly stand everywhere; those are looked for as Knuth, Morris and Pratt do it.
 *
 * Proof: test/unit/template/rope.test.ts, test/unit/template/costs.test.ts
 * @module
 */

const shortPattern = 32;

/** For every length of a beginning of the pattern: how much of its end is a beginning again. */
function overlaps(pattern: Uint8Array): Int32Array {
  const table = new Int32Array(pattern.length + 1);
  let length = 0;
  for (let at = 1; at < pattern.length; at += 1) {
    while (length > 0 && pattern[at] !== pattern[length]) length = table[length] ?? 0;
    if (pattern[at] === pattern[length]) length += 1;
    table[at + 1] = length;
  }
  return table;
}

/** Offsets of at most `most` places from left to right, without overlaps; none for an empty pattern. */
export function search(haystack: Uint8Array, pattern: Uint8Array, most: number): number[] {
  const found: number[] = [];
  const { length } = pattern;
  if (length === 0) return found;
  if (length <= shortPattern) {
    const view = Buffer.from(haystack.buffer, haystack.byteOffset, haystack.length);
    for (let at = view.indexOf(pattern); at >= 0 && found.length < most; at = view.indexOf(pattern, at + length))
      found.push(at);
    return found;
  }
  const table = overlaps(pattern);
  let matched = 0;
  for (let at = 0; at < haystack.length && found.length < most; at += 1) {
    while (matched > 0 && haystack[at] !== pattern[matched]) matched = table[matched] ?? 0;
    if (haystack[at] === pattern[matched]) matched += 1;
    if (matched < length) continue;
    found.push(at - length + 1);
    matched = 0;
  }
  return found;
}
