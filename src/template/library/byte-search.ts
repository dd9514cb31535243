/**
 * Substring search in bytes, in linear time.
 *
 * `Buffer.indexOf` is fast for short patterns, but up to 500 times slower for long patterns with many near matches.
 * Long patterns are therefore searched for with the Knuth-Morris-Pratt algorithm.
 *
 * Proof: test/unit/template/rope.test.ts, test/unit/template/costs.test.ts
 * @module
 */

const shortPatternBytes = 32;

/** Builds the failure table, which contains the length of the longest proper border of each prefix. */
function failureTable(pattern: Uint8Array): Int32Array {
  const table = new Int32Array(pattern.length + 1);
  let length = 0;
  for (let at = 1; at < pattern.length; at += 1) {
    while (length > 0 && pattern[at] !== pattern[length]) length = table[length] ?? 0;
    if (pattern[at] === pattern[length]) length += 1;
    table[at + 1] = length;
  }
  return table;
}

/** Returns the offsets of up to `most` non-overlapping matches, left to right; none for an empty pattern. */
export function search(haystack: Uint8Array, pattern: Uint8Array, most: number): number[] {
  const found: number[] = [];
  const { length } = pattern;
  if (length === 0) return found;
  if (length <= shortPatternBytes) {
    const view = Buffer.from(haystack.buffer, haystack.byteOffset, haystack.length);
    for (let at = view.indexOf(pattern); at >= 0 && found.length < most; at = view.indexOf(pattern, at + length))
      found.push(at);
    return found;
  }
  const table = failureTable(pattern);
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
