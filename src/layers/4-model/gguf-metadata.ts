/**
 * Metadata of a GGUF file: bounds-checked reading, and access by key and type.
 *
 * Promise: no read goes beyond the file or the header limit, and no count or length causes more memory to be allocated
 *          than the file can fill.
 * Trust:   the file is untrusted.
 * Source:  https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3)
 * Proof:   test/unit/layers/4-gguf-header.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';

/** Reads `length` bytes at `offset`; returns fewer only at the end of the file. */
export type ReadAt = (offset: number, length: number) => Buffer;

/** Upper bounds for sizes and counts in a header. */
export const limits = {
  headerBytes: 512 << 20,
  pairs: 8192,
  tensors: 65_536,
  keyBytes: 256,
  nameBytes: 63,
  stringBytes: 16 << 20,
  templateBytes: 1 << 20,
  arrayItems: 4 << 20,
  vocabulary: 2 << 20,
  tokenBytes: 4096,
  alignment: 65_536,
} as const;

/** GGUF value types. */
export const valueTypes = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;
const typeBytes: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const windowBytes = 1 << 20;

/** Refuses the file. @throws `L4_GGUF_*` */
export function refuse(fault: string, message: string): never {
  throw new KwyreError(
    `L4_GGUF_${fault}`,
    `the model file is not a valid GGUF file: ${message}`,
    'download the file again and compare its digest with the published one',
  );
}

function sizeOf(type: number): number {
  return typeBytes[type] ?? refuse('TYPE', 'it uses an unknown value type');
}

/** A position in the header; every read is checked against the end of the file. */
export class Cursor {
  offset = 0;
  readonly #readAt: ReadAt;
  readonly #end: number;
  #window: Buffer = Buffer.alloc(0);
  #start = 0;

  constructor(readAt: ReadAt, size: number) {
    this.#readAt = readAt;
    this.#end = Math.min(size, limits.headerBytes);
  }

  #need(length: number): void {
    if (length < 0 || length > this.#end - this.offset) refuse('TRUNCATED', 'its header is truncated');
  }

  /** Loads the next bytes into the window, advances past them and returns their offset in the window. */
  #advance(length: number): number {
    this.#need(length);
    if (this.offset < this.#start || this.offset + length > this.#start + this.#window.length) {
      this.#start = this.offset;
      this.#window = this.#readAt(this.offset, Math.min(Math.max(length, windowBytes), this.#end - this.offset));
      if (this.#window.length < length) refuse('TRUNCATED', 'its header is truncated');
    }
    const at = this.offset - this.#start;
    this.offset += length;
    return at;
  }

  /** Returns the next bytes as a view that is valid until the next read. */
  take(length: number): Buffer {
    const at = this.#advance(length);
    return this.#window.subarray(at, at + length);
  }

  /** Advances without reading. */
  skip(length: number): void {
    this.#need(length);
    this.offset += length;
  }

  uint32(): number {
    const at = this.#advance(4);
    return this.#window.readUInt32LE(at);
  }

  /** Reads a 64-bit count or length, and refuses a value above `max`. */
  count(what: string, max: number): number {
    const at = this.#advance(8);
    // Above 2^53 the sum is rounded, but every limit is lower.
    const value = this.#window.readUInt32LE(at) + this.#window.readUInt32LE(at + 4) * 2 ** 32;
    if (value > max) refuse('LIMIT', `${what} exceeds the limit of ${max}`);
    return value;
  }

  text(what: string, max: number): string {
    return this.take(this.count(what, max)).toString('utf8');
  }
}

/** An array, which is not loaded from the file: its length, its offset and the type of its elements. */
type ArrayFacts = { readonly length: number; readonly first: number; readonly itemType: number };
type Value = number | string | boolean | ArrayFacts;

function readArray(cursor: Cursor): ArrayFacts {
  const itemType = cursor.uint32();
  if (itemType === valueTypes.array) refuse('TYPE', 'nested arrays are not supported');
  const length = cursor.count('the length of an array', limits.arrayItems);
  const first = cursor.offset;
  if (itemType === valueTypes.string)
    for (let i = 0; i < length; i += 1) cursor.skip(cursor.count('the length of a string', limits.stringBytes));
  else cursor.skip(length * sizeOf(itemType));
  return { length, first, itemType };
}

function readNumber(bytes: Buffer, type: number): number | boolean {
  switch (type) {
    case valueTypes.bool:
      if ((bytes[0] ?? 2) > 1) refuse('TYPE', 'a boolean is neither 0 nor 1');
      return bytes[0] === 1;
    case valueTypes.float32:
      return bytes.readFloatLE(0);
    case valueTypes.float64:
      return bytes.readDoubleLE(0);
    case valueTypes.uint64:
      return Number(bytes.readBigUInt64LE(0));
    case valueTypes.int64:
      return Number(bytes.readBigInt64LE(0));
    default:
      return type === valueTypes.int8 || type === valueTypes.int16 || type === valueTypes.int32
        ? bytes.readIntLE(0, bytes.length)
        : bytes.readUIntLE(0, bytes.length);
  }
}

function readValue(cursor: Cursor, type: number, key: string): Value {
  if (type === valueTypes.string)
    return cursor.text(
      key === 'tokenizer.chat_template' ? 'the length of the chat template' : 'the length of a string',
      key === 'tokenizer.chat_template' ? limits.templateBytes : limits.stringBytes,
    );
  if (type === valueTypes.array) return readArray(cursor);
  return readNumber(cursor.take(sizeOf(type)), type);
}

/** Metadata by key; a value that is out of range or of the wrong type is refused when it is accessed. */
export class Metadata {
  readonly #values = new Map<string, Value>();
  readonly #readAt: ReadAt;
  readonly #size: number;

  constructor(readAt: ReadAt, size: number) {
    this.#readAt = readAt;
    this.#size = size;
  }

  /** Reads the next pair. */
  readPair(cursor: Cursor): void {
    const key = cursor.text('the length of a key', limits.keyBytes);
    if (!/^[\x21-\x7e]+$/.test(key)) refuse('KEY', 'a metadata key is empty or not printable ASCII');
    if (this.#values.has(key)) refuse('KEY', 'a metadata key appears twice');
    this.#values.set(key, readValue(cursor, cursor.uint32(), key));
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** Returns an integer within bounds; refuses a missing key unless a fallback is given. */
  whole(key: string, min: number, max: number, fallback?: number): number {
    const value = this.#values.get(key);
    if (value === undefined && fallback !== undefined) return fallback;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
      refuse('KEY', `${key} is missing or out of range`);
    return value;
  }

  /** Refuses a value that is present but not a number within bounds. */
  bounded(key: string, min: number, max: number): void {
    const value = this.#values.get(key);
    if (value === undefined) return;
    if (typeof value !== 'number' || !(value >= min && value <= max)) refuse('KEY', `${key} is out of range`);
  }

  /** Returns a string, empty if the key is missing. */
  text(key: string): string {
    const value = this.#values.get(key);
    return typeof value === 'string' ? value : '';
  }

  /** Returns an array of one of the given types, or `undefined` if the key is missing. */
  array(key: string, itemTypes: readonly number[]): ArrayFacts | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'object' || !itemTypes.includes(value.itemType))
      refuse('TYPE', `${key} is not an array of the expected type`);
    return value;
  }

  /** Returns one integer for each of `length` layers, from either a single value or an array. */
  perLayer(key: string, length: number, min: number, max: number): number[] | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'object') return new Array<number>(length).fill(this.whole(key, min, max));
    const list = this.array(key, [valueTypes.uint32, valueTypes.int32]);
    if (list === undefined || list.length < length) refuse('KEY', `${key} has fewer entries than the model has layers`);
    const cursor = this.cursorAt(list.first);
    return Array.from({ length }, () => {
      const entry = cursor.uint32();
      if (entry > max) refuse('KEY', `${key} is out of range`);
      return entry;
    });
  }

  /** Returns a cursor at an offset in the file. */
  cursorAt(offset: number): Cursor {
    const cursor = new Cursor(this.#readAt, this.#size);
    cursor.offset = offset;
    return cursor;
  }
}
