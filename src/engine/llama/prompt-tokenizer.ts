/**
 * From the pieces of a prompt to tokens, in memory of their own that its generation overwrites.
 *
 * Promise: text of the conversation can never open a turn of its own: control tokens come from template pieces only,
 *          and where a template uses tokens that the vocabulary calls user-defined, their names in a message stay text
 *          too. Everything between two such tokens is tokenised as one text, so that a harmless conversation gets the
 *          same tokens as its rendered whole. Where the name of a marker has to be cut, nothing is put in between.
 * Limits:  a template whose markers are no tokens (`[INST]` of some models) cannot be told from text that imitates it.
 *          In vocabularies of byte pairs, runs of more than 16 KiB without a change between space and other bytes are
 *          cut,
 *          since patterns of llama.cpp recurse over them: with some it would end the engine.
 * Proof:   test/e2e/openai.test.ts
 * @module
 */
import { constantBytes, wipeBytes, plaintextBytes, plaintextMemory } from '../../base/bytes.ts';
import { tokenAttributes } from './abi.ts';
import type { LlamaModel } from './model.ts';
import type { PromptPiece } from '../types.ts';
import { RequestError } from '../types.ts';

/** The prompt of an answer, in memory of its own. */
export type PromptTokens = { readonly tokens: Int32Array; readonly length: number };

/** No token of a real text stands for more bytes on average; longer prompts are refused without tokenising them. */
const bytesPerToken = 128;
/** Texts from this size on are tokenised off the main thread, which has others' tokens to send. */
const asideBytes = 16 * 1024;
/** `std::regex` recurses over a run, and overflows a stack of 8 MiB from some 40,000 bytes on. */
const longestRun = 16 * 1024;
/** Template pieces whose parts are remembered; they repeat from turn to turn. */
const rememberedPieces = 128;

/** The name of a token that a message may write as text, and the byte of it before which a text is cut. */
type Marker = { readonly name: Buffer; readonly cut: number };

/** A part of a prompt: text, or a token that the vocabulary sets apart (from a template piece only). */
type Part =
  | { readonly kind: 'text'; readonly bytes: Buffer }
  | {
      readonly kind: 'token';
      readonly token: number;
      readonly marker: Marker | undefined;
      readonly strips: { readonly left: boolean; readonly right: boolean };
    };

/**
 * Where a prompt stands while it is put together: text up to an offset of the bytes, then a token. `continues`: the
 * text before was cut here.
 */
type Section = { end: number; token: number | undefined; continues: boolean };

/**
 * Bytes that stand before the rest of a text that was cut, so that no space is put there; the first that stays a token
 * of its own.
 */
const lead = [0x0a, 0x09, 0x01, 0x7c, 0x61];

const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
const isInside = (byte: number) => (byte & 0xc0) === 0x80;
/** A single character is plain text, and cannot be cut. */
const isOneCharacter = (name: string) => name.length === String.fromCodePoint(name.codePointAt(0) ?? 0).length;

function tooLong(length: number | undefined, limit: number): RequestError {
  const seen = length === undefined ? 'more than that' : `${length} tokens`;
  return new RequestError(
    'REQUEST_CONTEXT_LENGTH_EXCEEDED',
    `this server's context is ${limit} tokens for a conversation and its answer, and the messages are ${seen}`,
    'messages',
  );
}

export class PromptTokenizer {
  readonly #llama: LlamaModel;
  readonly #begin: number | undefined;
  readonly #remembered = new Map<string, readonly Part[]>();
  readonly #markers = new Map<string, Marker>();
  /** By byte of `lead`. */
  readonly #leads = new Map<number, readonly number[]>();

  constructor(llama: LlamaModel) {
    this.#llama = llama;
    this.#begin = llama.beginning;
  }

  /** Cuts a template piece at the tokens that it names. */
  #partsOf(text: string): readonly Part[] {
    const known = this.#remembered.get(text);
    if (known !== undefined) return known;
    const llama = this.#llama;
    const bytes = constantBytes(text);
    const tokens = new Int32Array(new ArrayBuffer(4 * (bytes.length + 16)));
    const count = Math.max(0, llama.tokenize(bytes, tokens, true));
    const parts: Part[] = [];
    let at = 0;
    const addText = (from: number, to: number) => {
      const piece = text.slice(from, to);
      if (piece !== '') parts.push({ kind: 'text', bytes: constantBytes(piece) });
    };
    for (const token of tokens.subarray(0, count)) {
      const attributes = llama.attributes(token);
      if ((attributes & (tokenAttributes.control | tokenAttributes.userDefined | tokenAttributes.unknown)) === 0)
        continue;
      const name = llama.textOf(token);
      if (name.trim() === '') continue; // runs of white space are tokens of their own in some vocabularies, and mark nothing
      const userDefined = (attributes & tokenAttributes.userDefined) !== 0;
      if (userDefined && isOneCharacter(name)) continue;
      const found = text.indexOf(name, at);
      if (found < 0) continue; // the stand-in for an unknown character, not the token's own name
      addText(at, found);
      parts.push({
        kind: 'token',
        token,
        marker: userDefined ? this.#markerOf(name) : undefined,
        strips: {
          left: (attributes & tokenAttributes.stripsLeft) !== 0,
          right: (attributes & tokenAttributes.stripsRight) !== 0,
        },
      });
      at = found + name.length;
    }
    addText(at, text.length);
    if (this.#remembered.size >= rememberedPieces) this.#remembered.clear();
    this.#remembered.set(text, parts);
    return parts;
  }

  /** Cuts a name where its two sides have the fewest tokens: between tokens that it has as plain text. */
  #markerOf(name: string): Marker {
    const known = this.#markers.get(name);
    if (known !== undefined) return known;
    const bytes = constantBytes(name);
    const found = new Int32Array(new ArrayBuffer(4 * (bytes.length + 16)));
    let marker: Marker | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (let cut = 1; cut < bytes.length; cut += 1) {
      if (isInside(bytes[cut] ?? 0)) continue;
      const count = this.#llama.tokenize(
        constantBytes(`${bytes.toString('utf8', 0, cut)}\n${bytes.toString('utf8', cut)}`),
        found,
        false,
      );
      if (count <= 0 || count >= least) continue;
      least = count;
      marker = { name: bytes, cut };
    }
    marker ??= { name: bytes, cut: 1 };
    this.#markers.set(name, marker);
    return marker;
  }

  /**
   * Refuses bytes that no context of this size has room for, before anything is made of them. @throws RequestError
   * `REQUEST_CONTEXT_LENGTH_EXCEEDED`
   */
  checkSize(bytes: number): void {
    const limit = this.#llama.contextTokens;
    if (bytes > limit * bytesPerToken) throw tooLong(undefined, limit);
  }

  /**
   * Tokenises a prompt. The promise is settled at once for short prompts.
   * @throws RequestError `REQUEST_CONTEXT_LENGTH_EXCEEDED` when it leaves no room for an answer.
   */
  async encode(pieces: readonly PromptPiece[]): Promise<PromptTokens> {
    const limit = this.#llama.contextTokens;
    const parts = pieces.flatMap((piece) => (piece.kind === 'text' ? [piece] : this.#partsOf(piece.text)));
    const size = parts.reduce((sum, part) => sum + (part.kind === 'token' ? 1 : part.bytes.length), 0);
    this.checkSize(size);

    const text = plaintextBytes(size);
    // A token that the vocabulary calls user-defined may be one byte, and a space may follow it: two tokens at most for
    // a byte.
    const tokens = new Int32Array(plaintextMemory(4 * Math.min(2 * size + parts.length + 16, limit + 16)));
    try {
      const length = await this.#tokenize(
        text,
        layOut(text, parts, this.#llama.splitsByPattern ? longestRun : Number.POSITIVE_INFINITY),
        tokens,
      );
      if (length >= limit) throw tooLong(length, limit);
      if (length === 0)
        throw new RequestError('REQUEST_MESSAGES_EMPTY', 'messages render to an empty prompt', 'messages');
      return { tokens, length };
    } catch (error) {
      tokens.fill(0);
      throw error;
    } finally {
      wipeBytes(text);
    }
  }

  async #tokenize(text: Buffer, sections: readonly Section[], tokens: Int32Array): Promise<number> {
    let length = 0;
    let from = 0;
    const put = (token: number) => {
      if (length < tokens.length) tokens[length] = token;
      length += 1;
    };
    // Many templates write the first token themselves; it must stand there once.
    const first = sections[0];
    if (this.#begin !== undefined && !(first?.end === 0 && first.token === this.#begin)) put(this.#begin);
    for (const { end, token, continues } of sections) {
      if (end > from) {
        const room = tokens.subarray(Math.min(length, tokens.length));
        const count = continues
          ? await this.#goOn(text, from, end, room)
          : await this.#tokensOf(text.subarray(from, end), room);
        length += Math.abs(count);
        from = end;
      }
      if (token !== undefined) put(token);
    }
    return length;
  }

  async #tokensOf(bytes: Buffer, room: Int32Array): Promise<number> {
    return bytes.length < asideBytes
      ? this.#llama.tokenize(bytes, room, false)
      : await this.#llama.tokenizeAside(bytes, room, false);
  }

  /**
   * Tokenises the rest of a text that was cut. SentencePiece puts a space before every text, and before a rest it may
   * not: a byte takes the place of the one before, which has its tokens already, and its own tokens are taken away
   * again.
   */
  async #goOn(text: Buffer, from: number, end: number, room: Int32Array): Promise<number> {
    if (this.#llama.splitsByPattern) return await this.#tokensOf(text.subarray(from, end), room);
    for (const byte of lead) {
      const own = this.#leadOf(byte);
      if (own.length === 0) continue;
      text[from - 1] = byte;
      const count = await this.#tokensOf(text.subarray(from - 1, end), room);
      if (count < 0) return count; // too long, however it begins
      if (own.some((token, i) => room[i] !== token)) continue; // it became one with the text
      room.copyWithin(0, own.length, count);
      return count - own.length;
    }
    // A token of its own begins the rest: then there is no space either.
    return await this.#tokensOf(text.subarray(from, end), room);
  }

  /** The tokens of a leading byte; none where it is a token that a space follows. */
  #leadOf(byte: number): readonly number[] {
    const known = this.#leads.get(byte);
    if (known !== undefined) return known;
    const found = new Int32Array(new ArrayBuffer(4 * 8));
    const count = Math.max(0, this.#llama.tokenize(constantBytes(String.fromCharCode(byte)), found, false));
    const own = [...found.subarray(0, count)];
    const apart = own.some((token) => (this.#llama.attributes(token) & tokenAttributes.userDefined) !== 0);
    this.#leads.set(byte, apart ? [] : own);
    return apart ? [] : own;
  }
}

/** Writes the text of all parts one after another and says where tokens stand between them. */
function layOut(text: Buffer, parts: readonly Part[], longest: number): Section[] {
  const sections: Section[] = [];
  const markers = parts.flatMap((part) => (part.kind === 'token' && part.marker !== undefined ? [part.marker] : []));
  let end = 0;
  let from = 0;
  let stripping = false;
  const close = (token: number | undefined) => {
    const ends = cuts(text.subarray(from, end), markers, longest).map((cut) => from + cut);
    for (const [i, cut] of ends.entries()) sections.push({ end: cut, token: undefined, continues: i > 0 });
    sections.push({ end, token, continues: ends.length > 0 });
    from = end;
  };
  for (const part of parts) {
    if (part.kind === 'token') {
      if (part.strips.left) while (end > from && isSpace(text[end - 1] ?? 0)) end -= 1;
      close(part.token);
      stripping = part.strips.right;
      continue;
    }
    // A token takes white space away on its sides, whoever wrote it.
    let skipped = 0;
    while (stripping && skipped < part.bytes.length && isSpace(part.bytes[skipped] ?? 0)) skipped += 1;
    if (skipped < part.bytes.length) stripping = false;
    text.set(part.bytes.subarray(skipped), end);
    end += part.bytes.length - skipped;
  }
  if (end > from) close(undefined);
  return sections;
}

/** Where a text has to be cut: inside the name of a marker, and inside overlong runs. */
function cuts(text: Buffer, markers: readonly Marker[], longest: number): number[] {
  const found = new Set<number>();
  for (const { name, cut } of markers) {
    for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) found.add(at + cut);
  }
  let start = 0;
  for (let i = 1; i < text.length; i += 1) {
    const byte = text[i] ?? 0;
    if (isSpace(byte) !== isSpace(text[i - 1] ?? 0)) start = i;
    else if (i - start >= longest && !isInside(byte)) {
      found.add(i);
      start = i;
    }
  }
  return [...found].sort((a, b) => a - b);
}
