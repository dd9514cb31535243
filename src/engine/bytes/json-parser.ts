/**
 * Parses JSON into a tree of offsets into the body.
 *
 * Promise: no text of the body becomes a JavaScript string or object. Keys are compared as bytes, so they can neither
 *          reach a prototype nor flood a hash table.
 * Trust:   the body is hostile. Depth, values, keys and lengths are bounded. Duplicate keys, invalid UTF-8, lone
 *          surrogates and everything that RFC 8259 forbids are refused.
 * Source:  RFC 8259, RFC 3629
 * Proof:   test/unit/engine/json-parser.test.ts
 * @module
 */
import { isUtf8 } from 'node:buffer';
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';
import { hexUnit, isHighSurrogate, isLowSurrogate, shortEscapes, unescapeJson } from '../../base/json-escape.ts';
import { RequestError } from '../types.ts';
import type { JsonNode } from './json-tree.ts';
import { jsonKinds, JsonTree, tapeSlots as slots } from './json-tree.ts';

/** @internal */
export const jsonLimits = { depth: 64, values: 200_000, keysPerObject: 2048, keyBytes: 1024 } as const;

const quote = 0x22;
const backslash = 0x5c;
const noLimit = Number.MAX_SAFE_INTEGER;

function malformed(at: number): RequestError {
  return new RequestError('REQUEST_JSON_MALFORMED', `the body is not valid JSON at byte ${at}`);
}

class Parser {
  readonly #body: Uint8Array;
  #tape = new Int32Array(slots * 256);
  #nodes = 0;
  #at = 0;
  // Buffers for two decoded keys that are being compared.
  readonly #left = plaintextBytes(jsonLimits.keyBytes);
  readonly #right = plaintextBytes(jsonLimits.keyBytes);

  constructor(body: Uint8Array) {
    this.#body = body;
  }

  parse(): JsonTree {
    try {
      if (!isUtf8(this.#body)) throw new RequestError('REQUEST_JSON_ENCODING', 'the body is not valid UTF-8');
      this.#skipSpace();
      this.#value(0);
      this.#skipSpace();
      if (this.#at !== this.#body.length) throw malformed(this.#at);
      return new JsonTree(this.#body, this.#tape.subarray(0, this.#nodes * slots));
    } finally {
      wipeBytes(this.#left);
      wipeBytes(this.#right);
    }
  }

  #skipSpace(): void {
    const body = this.#body;
    for (;;) {
      const byte = body[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at += 1;
    }
  }

  #open(kind: number, start: number): JsonNode {
    if (this.#nodes >= jsonLimits.values)
      throw new RequestError('REQUEST_JSON_LIMIT', `the body contains more than ${jsonLimits.values} values`);
    const node = this.#nodes++;
    if (this.#tape.length < this.#nodes * slots) {
      const grown = new Int32Array(this.#tape.length * 4);
      grown.set(this.#tape);
      this.#tape = grown;
    }
    this.#tape[node * slots] = kind;
    this.#tape[node * slots + 1] = start;
    return node;
  }

  #close(node: JsonNode, end: number): void {
    this.#tape[node * slots + 2] = end;
    this.#tape[node * slots + 3] = this.#nodes;
  }

  #value(depth: number): void {
    const first = this.#body[this.#at];
    if (first === quote) this.#string(noLimit);
    else if (first === 0x7b) this.#object(depth);
    else if (first === 0x5b) this.#array(depth);
    else if (first === 0x74) this.#literal('true', jsonKinds.true);
    else if (first === 0x66) this.#literal('false', jsonKinds.false);
    else if (first === 0x6e) this.#literal('null', jsonKinds.null);
    else this.#number();
  }

  #literal(literal: string, kind: number): void {
    const start = this.#at;
    for (let i = 0; i < literal.length; i += 1)
      if (this.#body[start + i] !== literal.charCodeAt(i)) throw malformed(start + i);
    this.#at += literal.length;
    this.#close(this.#open(kind, start), this.#at);
  }

  #digits(): void {
    const start = this.#at;
    for (;;) {
      const byte = this.#body[this.#at] ?? 0;
      if (byte < 0x30 || byte > 0x39) break;
      this.#at += 1;
    }
    if (this.#at === start) throw malformed(this.#at);
  }

  #number(): void {
    const body = this.#body;
    const start = this.#at;
    if (body[this.#at] === 0x2d) this.#at += 1;
    if (body[this.#at] === 0x30) this.#at += 1;
    else this.#digits();
    if (body[this.#at] === 0x2e) {
      this.#at += 1;
      this.#digits();
    }
    if (((body[this.#at] ?? 0) | 0x20) === 0x65) {
      this.#at += 1;
      const sign = body[this.#at];
      if (sign === 0x2b || sign === 0x2d) this.#at += 1;
      this.#digits();
    }
    this.#close(this.#open(jsonKinds.number, start), this.#at);
  }

  /** Parses a string and checks its escapes. @returns its node */
  #string(maxBytes: number): JsonNode {
    const body = this.#body;
    const start = this.#at + 1;
    let at = start;
    let kind: number = jsonKinds.string;
    for (;;) {
      const byte = body[at];
      if (byte === undefined || byte < 0x20) throw malformed(at);
      if (byte === quote) break;
      if (byte !== backslash) {
        at += 1;
        continue;
      }
      kind = jsonKinds.escaped;
      const letter = body[at + 1] ?? 0;
      if (letter !== 0x75) {
        if (letter >= 128 || shortEscapes[letter] === 0) throw malformed(at);
        at += 2;
        continue;
      }
      const unit = hexUnit(body, at + 2);
      if (unit < 0 || isLowSurrogate(unit)) throw malformed(at);
      at += 6;
      if (isHighSurrogate(unit)) {
        if (body[at] !== backslash || body[at + 1] !== 0x75 || !isLowSurrogate(hexUnit(body, at + 2)))
          throw malformed(at);
        at += 6;
      }
    }
    if (at - start > maxBytes)
      throw new RequestError('REQUEST_JSON_LIMIT', `a key in the body is longer than ${maxBytes} bytes`);
    const node = this.#open(kind, start);
    this.#at = at + 1;
    this.#close(node, at);
    return node;
  }

  #array(depth: number): void {
    if (depth >= jsonLimits.depth)
      throw new RequestError('REQUEST_JSON_LIMIT', `the body is nested deeper than ${jsonLimits.depth}`);
    const node = this.#open(jsonKinds.array, this.#at++);
    this.#skipSpace();
    if (this.#body[this.#at] === 0x5d) this.#at += 1;
    else {
      for (;;) {
        this.#value(depth + 1);
        this.#skipSpace();
        const byte = this.#body[this.#at];
        if (byte !== 0x2c && byte !== 0x5d) throw malformed(this.#at);
        this.#at += 1;
        if (byte === 0x5d) break;
        this.#skipSpace();
      }
    }
    this.#close(node, this.#at);
  }

  #object(depth: number): void {
    if (depth >= jsonLimits.depth)
      throw new RequestError('REQUEST_JSON_LIMIT', `the body is nested deeper than ${jsonLimits.depth}`);
    const node = this.#open(jsonKinds.object, this.#at++);
    const keys: JsonNode[] = [];
    this.#skipSpace();
    if (this.#body[this.#at] === 0x7d) this.#at += 1;
    else {
      for (;;) {
        if (this.#body[this.#at] !== quote) throw malformed(this.#at);
        keys.push(this.#string(jsonLimits.keyBytes));
        if (keys.length > jsonLimits.keysPerObject)
          throw new RequestError(
            'REQUEST_JSON_LIMIT',
            `an object in the body has more than ${jsonLimits.keysPerObject} keys`,
          );
        this.#skipSpace();
        if (this.#body[this.#at] !== 0x3a) throw malformed(this.#at);
        this.#at += 1;
        this.#skipSpace();
        this.#value(depth + 1);
        this.#skipSpace();
        const byte = this.#body[this.#at];
        if (byte !== 0x2c && byte !== 0x7d) throw malformed(this.#at);
        this.#at += 1;
        if (byte === 0x7d) break;
        this.#skipSpace();
      }
    }
    this.#close(node, this.#at);
    this.#refuseDuplicates(keys);
  }

  /** Sorts the keys and refuses duplicates. Unlike hashing, sorting cannot be slowed down by the choice of keys. */
  #refuseDuplicates(keys: JsonNode[]): void {
    if (keys.length < 2) return;
    keys.sort((a, b) => this.#compareKeys(a, b));
    for (let i = 1; i < keys.length; i += 1) {
      if (this.#compareKeys(keys[i - 1] ?? 0, keys[i] ?? 0) === 0) {
        throw new RequestError(
          'REQUEST_JSON_DUPLICATE_KEY',
          `an object in the body has a duplicate key at byte ${this.#start(keys[i] ?? 0)}`,
        );
      }
    }
  }

  /** Orders decoded keys by length, then by bytes. */
  #compareKeys(a: JsonNode, b: JsonNode): number {
    const left = this.#key(a, this.#left);
    const right = this.#key(b, this.#right);
    if (left.length !== right.length) return left.length - right.length;
    for (let i = 0; i < left.length; i += 1) {
      const difference = (left.bytes[left.from + i] ?? 0) - (right.bytes[right.from + i] ?? 0);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  #key(node: JsonNode, scratch: Uint8Array): { bytes: Uint8Array; from: number; length: number } {
    const from = this.#start(node);
    const to = this.#tape[node * slots + 2] ?? 0;
    if (this.#tape[node * slots] === jsonKinds.string) return { bytes: this.#body, from, length: to - from };
    return { bytes: scratch, from: 0, length: unescapeJson(this.#body, from, to, scratch) };
  }

  #start(node: JsonNode): number {
    return this.#tape[node * slots + 1] ?? 0;
  }
}

/**
 * Parses a document. The tree points into the body and is valid until the body is overwritten.
 * @throws RequestError `REQUEST_JSON_*`
 */
export function parseJson(body: Uint8Array): JsonTree {
  return new Parser(body).parse();
}
