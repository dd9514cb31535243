/**
 * Tokenises the pieces of a prompt.
 *
 * Promise: conversation text cannot open a turn. Control tokens come only from template pieces. If a template uses
 *          user-defined tokens, their names in a message stay text. Text between two special tokens is tokenised as a
 *          whole, so a harmless conversation gets the same tokens as its rendered text. Splitting a name inserts no
 *          token.
 * Limits:  markers that are plain text (such as `[INST]` in some models) cannot be distinguished from text that
 *          imitates them. With byte-pair encoding, a run of only white space or only other text is split every 16 KiB,
 *          because llama.cpp's patterns recurse over a run and some would overflow the stack.
 * Proof:   test/unit/engine/prompt-tokenizer.test.ts, test/e2e/openai.test.ts
 * @module
 */
import { constantBytes, plaintextBytes, plaintextMemory, wipeBytes } from '../../base/bytes.ts';
import type { PromptPiece } from '../types.ts';
import { RequestError } from '../types.ts';
import { tokenAttributes } from './abi.ts';
import type { LlamaModel } from './model.ts';
import type { Marker, PromptPart, PromptSection } from './prompt-sections.ts';
import { isContinuationByte, layOutSections } from './prompt-sections.ts';

/** A tokenised prompt. Its owner must overwrite it after use. */
export type PromptTokens = { readonly tokens: Int32Array; readonly length: number };

/**
 * Maximum prompt size in bytes, per token of context. Real text has fewer bytes per token on average. A larger prompt
 * is refused without being tokenised.
 */
const bytesPerToken = 128;
/** Texts of at least this size are tokenised on another thread. */
const offThreadBytes = 16 * 1024;
/** `std::regex` recurses over a run; a run of about 40,000 bytes overflows an 8 MiB stack. */
const longestRun = 16 * 1024;
/** Number of cached template pieces. They repeat from turn to turn. */
const cachedPieces = 128;

/** Bytes that can stand in for the text before a split. The first one that remains a separate token is used. */
const standIns = [0x0a, 0x09, 0x01, 0x7c, 0x61];

/** A single character is plain text and cannot be split. */
const isOneCharacter = (name: string) => name.length === String.fromCodePoint(name.codePointAt(0) ?? 0).length;

function tooLong(length: number | undefined, limit: number): RequestError {
  const seen = length === undefined ? 'more than that' : `${length} tokens`;
  return new RequestError(
    'REQUEST_CONTEXT_LENGTH_EXCEEDED',
    `the context of this server is ${limit} tokens for messages and completion, and the messages are ${seen}`,
    'messages',
  );
}

export class PromptTokenizer {
  readonly #llama: LlamaModel;
  readonly #bos: number | undefined;
  readonly #parts = new Map<string, readonly PromptPart[]>();
  readonly #markers = new Map<string, Marker>();
  /** The tokens of each stand-in. */
  readonly #standIns = new Map<number, readonly number[]>();

  constructor(llama: LlamaModel) {
    this.#llama = llama;
    this.#bos = llama.bos;
  }

  /** Splits a template piece at the special tokens it contains. */
  #partsOf(text: string): readonly PromptPart[] {
    const cached = this.#parts.get(text);
    if (cached !== undefined) return cached;
    const llama = this.#llama;
    const bytes = constantBytes(text);
    const tokens = new Int32Array(new ArrayBuffer(4 * (bytes.length + 16)));
    const count = Math.max(0, llama.tokenize(bytes, tokens, true));
    const parts: PromptPart[] = [];
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
      if (name.trim() === '') continue; // some vocabularies have tokens for runs of white space; they are not markers
      const userDefined = (attributes & tokenAttributes.userDefined) !== 0;
      if (userDefined && isOneCharacter(name)) continue;
      const found = text.indexOf(name, at);
      if (found < 0) continue; // the token for an unknown character, which does not appear in the text by name
      addText(at, found);
      parts.push({
        kind: 'token',
        token,
        marker: userDefined ? this.#markerOf(name) : undefined,
        strips: {
          left: (attributes & tokenAttributes.stripLeft) !== 0,
          right: (attributes & tokenAttributes.stripRight) !== 0,
        },
      });
      at = found + name.length;
    }
    addText(at, text.length);
    if (this.#parts.size >= cachedPieces) this.#parts.clear();
    this.#parts.set(text, parts);
    return parts;
  }

  /** Finds the place to split a name so that its two halves, tokenised as plain text, have the fewest tokens. */
  #markerOf(name: string): Marker {
    const cached = this.#markers.get(name);
    if (cached !== undefined) return cached;
    const bytes = constantBytes(name);
    const found = new Int32Array(new ArrayBuffer(4 * (bytes.length + 16)));
    let marker: Marker | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (let cut = 1; cut < bytes.length; cut += 1) {
      if (isContinuationByte(bytes[cut] ?? 0)) continue;
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
   * Refuses a prompt that is too large to fit, before it is rendered.
   * @throws RequestError `REQUEST_CONTEXT_LENGTH_EXCEEDED`
   */
  checkSize(bytes: number): void {
    const limit = this.#llama.contextTokens;
    if (bytes > limit * bytesPerToken) throw tooLong(undefined, limit);
  }

  /**
   * Tokenises a prompt; short prompts are tokenised on this thread.
   * @throws RequestError `REQUEST_CONTEXT_LENGTH_EXCEEDED` if there is no room for a completion,
   * `REQUEST_MESSAGES_EMPTY`
   */
  async encode(pieces: readonly PromptPiece[]): Promise<PromptTokens> {
    const limit = this.#llama.contextTokens;
    const parts = pieces.flatMap((piece) => (piece.kind === 'text' ? [piece] : this.#partsOf(piece.text)));
    const size = parts.reduce((sum, part) => sum + (part.kind === 'token' ? 1 : part.bytes.length), 0);
    this.checkSize(size);

    const text = plaintextBytes(size);
    // At most two tokens per byte: a user-defined token may be one byte, and a space may be inserted after it.
    const tokens = new Int32Array(plaintextMemory(4 * Math.min(2 * size + parts.length + 16, limit + 16)));
    try {
      const sections = layOutSections(text, parts, this.#llama.isBytePair ? longestRun : Number.POSITIVE_INFINITY);
      const length = await this.#tokenizeSections(text, sections, tokens);
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

  /** @returns the number of tokens, even if `tokens` is too small for them */
  async #tokenizeSections(text: Buffer, sections: readonly PromptSection[], tokens: Int32Array): Promise<number> {
    let length = 0;
    let from = 0;
    const put = (token: number) => {
      if (length < tokens.length) tokens[length] = token;
      length += 1;
    };
    // Many templates write the BOS token themselves; it must not be doubled.
    const first = sections[0];
    if (this.#bos !== undefined && !(first?.end === 0 && first.token === this.#bos)) put(this.#bos);
    for (const { end, token, continues } of sections) {
      if (end > from) {
        const room = tokens.subarray(Math.min(length, tokens.length));
        const count = continues
          ? await this.#tokenizeRest(text, from, end, room)
          : await this.#tokenizeText(text.subarray(from, end), room);
        length += Math.abs(count);
        from = end;
      }
      if (token !== undefined) put(token);
    }
    return length;
  }

  async #tokenizeText(bytes: Buffer, room: Int32Array): Promise<number> {
    return bytes.length < offThreadBytes
      ? this.#llama.tokenize(bytes, room, false)
      : await this.#llama.tokenizeOffThread(bytes, room, false);
  }

  /**
   * Tokenises the rest of a text that was split. SentencePiece inserts a space before every text, which must not happen
   * here. So a stand-in replaces the preceding byte, which is already tokenised, and the stand-in's tokens are removed
   * from the result.
   */
  async #tokenizeRest(text: Buffer, from: number, end: number, room: Int32Array): Promise<number> {
    if (this.#llama.isBytePair) return await this.#tokenizeText(text.subarray(from, end), room);
    for (const byte of standIns) {
      const own = this.#standInTokens(byte);
      if (own.length === 0) continue;
      text[from - 1] = byte;
      const count = await this.#tokenizeText(text.subarray(from - 1, end), room);
      if (count < 0) return count; // too long for any stand-in
      if (own.some((token, i) => room[i] !== token)) continue; // it merged with the text
      room.copyWithin(0, own.length, count);
      return count - own.length;
    }
    // The rest begins with a separate token, before which no space is inserted.
    return await this.#tokenizeText(text.subarray(from, end), room);
  }

  /** Returns a stand-in's tokens, or none if one is user-defined: a space would be inserted after such a token. */
  #standInTokens(byte: number): readonly number[] {
    const cached = this.#standIns.get(byte);
    if (cached !== undefined) return cached;
    const found = new Int32Array(new ArrayBuffer(4 * 8));
    const count = Math.max(0, this.#llama.tokenize(constantBytes(String.fromCharCode(byte)), found, false));
    const tokens = [...found.subarray(0, count)];
    const usable = tokens.some((token) => (this.#llama.attributes(token) & tokenAttributes.userDefined) !== 0)
      ? []
      : tokens;
    this.#standIns.set(byte, usable);
    return usable;
  }
}
