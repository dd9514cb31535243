/**
 * Metadata of a GGUF file: values read within bounds, and asked for by type.
 *
 * Promise: no read goes beyond the end of the file or of the header's limit; no count or length makes memory of ours
 *          that the file does not fill.
 * Trust:   the file is hostile.
 * Source:  https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3)
 * Proof:   test/unit/layers/4-gguf-header.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';

/** Reads `length` bytes at `offset`; fewer only at the end of the file. */
export type ReadAt = (offset: number, length: number) => Buffer;

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

/** Refuses the file with a code of its own. */
export function refuse(fault: string, message: string): never {
  throw new KwyreError(
    `L4_GGUF_${fault}`,
    `the model file is not a sound GGUF file: ${message}`,
    'fetch the file again from its source and compare its digest',
  );
}

function sizeOf(type: number): number {
  return typeBytes[type] ?? refuse('TYPE', 'it uses a value type that GGUF does not have');
}

/** Walks through the header; every read is checked against the end of the file. */
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
    if (length < 0 || length > this.#end - this.offset) refuse('TRUNCATED', 'its header ends before it is complete');
  }

  /** Makes sure that the next bytes are in the window, and goes over them; gives where they begin there. */
  #pass(length: number): number {
    this.#need(length);
    if (this.offset < this.#start || this.offset + length > this.#start + this.#window.length) {
      this.#start = this.offset;
      this.#window = this.#readAt(this.offset, Math.min(Math.max(length, windowBytes), this.#end - this.offset));
      if (this.#window.length < length) refuse('TRUNCATED', 'its header ends before it is complete');
    }
    const at = this.offset - this.#start;
    this.offset += length;
    return at;
  }

  /** The next bytes, as a view that is valid until the next read. */
  take(length: number): Buffer {
    const at = this.#pass(length);
    return this.#window.subarray(at, at + length);
  }

  /** Goes over bytes without reading them. */
  skip(length: number): void {
    this.#need(length);
    this.offset += length;
  }

  uint32(): number {
    const at = this.#pass(4);
    return this.#window.readUInt32LE(at);
  }

  /** A count or a length: 64 bits in the file, exact in JavaScript or refused. */
  count(what: string, max: number): number {
    const at = this.#pass(8);
    // Beyond 2^53 the sum is rounded, and above every limit all the same.
    const value = this.#window.readUInt32LE(at) + this.#window.readUInt32LE(at + 4) * 2 ** 32;
    if (value > max) refuse('LIMIT', `${what} is beyond the limit of ${max}`);
    return value;
  }

  text(what: string, max: number): string {
    return this.take(this.count(what, max)).toString('utf8');
  }
}

/** An array stays in the file: where it begins and what it holds. */
export type ArrayFacts = { readonly length: number; readonly first: number; readonly itemType: number };
type Value = number | string | boolean | ArrayFacts;

function readArray(cursor: Cursor): ArrayFacts {
  const itemType = cursor.uint32();
  if (itemType === valueTypes.array) refuse('TYPE', 'arrays of arrays are not used by any model');
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
      if ((bytes[0] ?? 2) > 1) refuse('TYPE', 'a truth value is neither 0 nor 1');
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

/** Metadata by key, with typed access that refuses. */
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
    if (!/^[\x21-\x7e]+$/.test(key)) refuse('KEY', 'a metadata key is empty or not plain');
    if (this.#values.has(key)) refuse('KEY', 'a metadata key comes twice');
    this.#values.set(key, readValue(cursor, cursor.uint32(), key));
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** A whole number within bounds; it must be there unless a fallback is given. */
  whole(key: string, min: number, max: number, fallback?: number): number {
    const value = this.#values.get(key);
    if (value === undefined && fallback !== undefined) return fallback;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
      refuse('KEY', `${key} is missing or out of range`);
    return value;
  }

  /** Refuses a number that is there and not within bounds (or no number). */
  bounded(key: string, min: number, max: number): void {
    const value = this.#values.get(key);
    if (value === undefined) return;
    if (typeof value !== 'number' || !(value >= min && value <= max)) refuse('KEY', `${key} is out of range`);
  }

  /** A text, empty when it is not there. */
  text(key: string): string {
    const value = this.#values.get(key);
    return typeof value === 'string' ? value : '';
  }

  /** An array of one of the given types, or `undefined` when the key is not there. */
  array(key: string, itemTypes: readonly number[]): ArrayFacts | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'object' || !itemTypes.includes(value.itemType))
      refuse('TYPE', `${key} is not the list that it should be`);
    return value;
  }

  /** Whole numbers: one for all of `length` places, or a list of at least as many. */
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

  /** A cursor at a place that a former walk has found. */
  cursorAt(offset: number): Cursor {
    const cursor = new Cursor(this.#readAt, this.#size);
    cursor.offset = offset;
    return cursor;
  }
}
