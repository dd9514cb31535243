/**
 * The sections of a prompt: stretches of text, each tokenised as a whole, and the special tokens between them.
 *
 * Promise: the name of a user-defined token in a message is split in two, so that it is tokenised as text.
 * Proof:   test/unit/engine/prompt-tokenizer.test.ts
 * @module
 */

/** The name of a user-defined token, and the offset in it at which the name is split when it occurs in a text. */
export type Marker = { readonly name: Buffer; readonly cut: number };

/** A part of a prompt: text, or a special token from a template piece. */
export type PromptPart =
  | { readonly kind: 'text'; readonly bytes: Buffer }
  | {
      readonly kind: 'token';
      readonly token: number;
      readonly marker: Marker | undefined;
      /** Whether the token removes white space to its left and right. */
      readonly strips: { readonly left: boolean; readonly right: boolean };
    };

/**
 * A section of a prompt: the text from the end of the previous section up to `end`, then `token`, if any. `continues`
 * means that the section starts where a text was split.
 */
export type PromptSection = { readonly end: number; readonly token: number | undefined; readonly continues: boolean };

const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
export const isContinuationByte = (byte: number): boolean => (byte & 0xc0) === 0x80;

/**
 * Writes the text of all parts into `text` and returns its sections.
 * @param text - must have room for every part's bytes
 * @param longestRun - maximum length in bytes of a run of only white space or only other text; longer runs are split
 */
export function layOutSections(text: Buffer, parts: readonly PromptPart[], longestRun: number): PromptSection[] {
  const sections: PromptSection[] = [];
  const markers = parts.flatMap((part) => (part.kind === 'token' && part.marker !== undefined ? [part.marker] : []));
  let end = 0;
  let from = 0;
  let stripping = false;
  const close = (token: number | undefined) => {
    const cuts = cutsOf(text.subarray(from, end), markers, longestRun).map((cut) => from + cut);
    for (const [i, cut] of cuts.entries()) sections.push({ end: cut, token: undefined, continues: i > 0 });
    sections.push({ end, token, continues: cuts.length > 0 });
    from = end;
  };
  for (const part of parts) {
    if (part.kind === 'token') {
      if (part.strips.left) while (end > from && isSpace(text[end - 1] ?? 0)) end -= 1;
      close(part.token);
      stripping = part.strips.right;
      continue;
    }
    let skipped = 0;
    while (stripping && skipped < part.bytes.length && isSpace(part.bytes[skipped] ?? 0)) skipped += 1;
    if (skipped < part.bytes.length) stripping = false;
    text.set(part.bytes.subarray(skipped), end);
    end += part.bytes.length - skipped;
  }
  if (end > from) close(undefined);
  return sections;
}

/** Returns the offsets at which a text must be split: inside markers' names and overlong runs. */
function cutsOf(text: Buffer, markers: readonly Marker[], longestRun: number): number[] {
  const found = new Set<number>();
  for (const { name, cut } of markers) {
    for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) found.add(at + cut);
  }
  let start = 0;
  for (let i = 1; i < text.length; i += 1) {
    const byte = text[i] ?? 0;
    if (isSpace(byte) !== isSpace(text[i - 1] ?? 0)) start = i;
    else if (i - start >= longestRun && !isContinuationByte(byte)) {
      found.add(i);
      start = i;
    }
  }
  return [...found].sort((a, b) => a - b);
}
