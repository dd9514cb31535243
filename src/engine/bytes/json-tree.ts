/**
 * A parsed JSON document, as offsets into its body.
 *
 * Promise: keys and strings are compared as bytes in place. `text` copies a decoded string into plaintext memory. Only
 *          `ascii` and `number` create a JavaScript string, for names and numbers that the schema reads.
 * Limits:  a tree is valid until the body is overwritten.
 * Proof:   test/unit/engine/json-parser.test.ts
 * @module
 */
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';
import { unescapeJson } from '../../base/json-escape.ts';

/** The kinds of nodes. `escaped` is a string or key that contains a backslash. */
export const jsonKinds = { null: 1, false: 2, true: 3, number: 4, string: 5, escaped: 6, array: 7, object: 8 } as const;

/** A value in a {@link JsonTree}, as the index of its node; 0 is the root. */
export type JsonNode = number;

/**
 * Number of slots per node. They hold its kind, the offset of its first byte, the offset after its last byte (for a
 * string, without the quotes), and the index of the node after its descendants.
 */
export const tapeSlots = 4;

const maxNumberBytes = 64;
const slots = tapeSlots;

export class JsonTree {
  readonly #body: Uint8Array;
  readonly #tape: Int32Array;

  constructor(body: Uint8Array, tape: Int32Array) {
    this.#body = body;
    this.#tape = tape;
  }

  kind(node: JsonNode): number {
    return this.#tape[node * slots] ?? 0;
  }

  start(node: JsonNode): number {
    return this.#tape[node * slots + 1] ?? 0;
  }

  end(node: JsonNode): number {
    return this.#tape[node * slots + 2] ?? 0;
  }

  #next(node: JsonNode): JsonNode {
    return this.#tape[node * slots + 3] ?? 0;
  }

  isString(node: JsonNode): boolean {
    const kind = this.kind(node);
    return kind === jsonKinds.string || kind === jsonKinds.escaped;
  }

  isNull(node: JsonNode): boolean {
    return this.kind(node) === jsonKinds.null;
  }

  /** Yields the elements of an array. */
  *elements(array: JsonNode): Generator<JsonNode> {
    for (let node = array + 1; node < this.#next(array); node = this.#next(node)) yield node;
  }

  /** Yields the members of an object, in the order of the body. */
  *pairs(object: JsonNode): Generator<readonly [key: JsonNode, value: JsonNode]> {
    for (let key = object + 1; key < this.#next(object); key = this.#next(key + 1)) yield [key, key + 1];
  }

  /** Returns the number of an array's elements or an object's members. */
  count(node: JsonNode): number {
    let count = 0;
    const isObject = this.kind(node) === jsonKinds.object;
    for (let at = node + 1; at < this.#next(node); at = this.#next(isObject ? at + 1 : at)) count += 1;
    return count;
  }

  /** Returns whether a key or string equals the ASCII string `name`. */
  is(node: JsonNode, name: string): boolean {
    const from = this.start(node);
    let length = this.end(node) - from;
    let bytes = this.#body;
    let offset = from;
    if (this.kind(node) === jsonKinds.escaped) {
      // An escape has at most six bytes and decodes to at least one, so this key or string is longer than the name.
      if (length > name.length * 6) return false;
      bytes = plaintextBytes(length);
      length = unescapeJson(this.#body, from, this.end(node), bytes);
      offset = 0;
    }
    let same = length === name.length;
    for (let i = 0; same && i < length; i += 1) same = bytes[offset + i] === name.charCodeAt(i);
    if (bytes !== this.#body) wipeBytes(bytes);
    return same;
  }

  /** Decodes a string into plaintext memory. The caller overwrites it. */
  text(node: JsonNode): Buffer {
    const from = this.start(node);
    const to = this.end(node);
    const scratch = plaintextBytes(to - from);
    if (this.kind(node) === jsonKinds.string) {
      scratch.set(this.#body.subarray(from, to));
      return scratch;
    }
    return scratch.subarray(0, unescapeJson(this.#body, from, to, scratch));
  }

  /** Returns a string of 1 to `maxLength` printable ASCII characters, or `undefined` if the value is anything else. */
  ascii(node: JsonNode, maxLength: number): string | undefined {
    if (!this.isString(node) || this.end(node) - this.start(node) > maxLength * 6) return undefined;
    const text = this.text(node);
    try {
      if (text.length === 0 || text.length > maxLength) return undefined;
      for (const byte of text) if (byte < 0x20 || byte > 0x7e) return undefined;
      return text.toString('latin1');
    } finally {
      wipeBytes(text);
    }
  }

  /** Returns a number's value, or `undefined` if the node is not a finite number of at most 64 bytes. */
  number(node: JsonNode): number | undefined {
    const from = this.start(node);
    const to = this.end(node);
    if (this.kind(node) !== jsonKinds.number || to - from > maxNumberBytes) return undefined;
    const value = Number(Buffer.from(this.#body.buffer, this.#body.byteOffset + from, to - from).toString('latin1'));
    return Number.isFinite(value) ? value : undefined;
  }

  /** Returns the value of a key that has up to nine decimal digits, such as a token id in `logit_bias`. */
  digits(node: JsonNode): number | undefined {
    const from = this.start(node);
    const to = this.end(node);
    if (this.kind(node) !== jsonKinds.string || to === from || to - from > 9) return undefined;
    let value = 0;
    for (let at = from; at < to; at += 1) {
      const digit = (this.#body[at] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) return undefined;
      value = value * 10 + digit;
    }
    return value;
  }
}
