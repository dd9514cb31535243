/**
 * A value in a request body. It is read with a required type and range.
 *
 * Promise: an error names the path of the field, never its value. A path consists of known names and numbers.
 * Proof:   test/unit/engine/chat-request.test.ts
 * @module
 */
import { parseJson } from '../bytes/json-parser.ts';
import type { JsonNode, JsonTree } from '../bytes/json-tree.ts';
import { jsonKinds } from '../bytes/json-tree.ts';
import { RequestError } from '../types.ts';

export const missing = (path: string): RequestError =>
  new RequestError('REQUEST_FIELD_MISSING', `${path} is required`, path);
export const wrongType = (path: string, expected: string): RequestError =>
  new RequestError('REQUEST_FIELD_TYPE', `${path} must be ${expected}`, path);
export const outOfRange = (path: string, expected: string): RequestError =>
  new RequestError('REQUEST_FIELD_RANGE', `${path} must be ${expected}`, path);
export const unsupported = (path: string): RequestError =>
  new RequestError('REQUEST_FIELD_UNSUPPORTED', `${path} is not supported by this server`, path);

/** The largest `int32_t`, the type of llama.cpp's counts. */
export const maxInt = 2 ** 31 - 1;

export class Field {
  readonly path: string;
  readonly #tree: JsonTree;
  readonly #node: JsonNode;

  constructor(tree: JsonTree, node: JsonNode, path: string) {
    this.#tree = tree;
    this.#node = node;
    this.path = path;
  }

  /** Parses a body, which must be an object. @throws RequestError `REQUEST_JSON_*` */
  static root(body: Uint8Array): Field {
    const root = new Field(parseJson(body), 0, '');
    if (!root.isObject) throw new RequestError('REQUEST_JSON_SHAPE', 'the body must be a JSON object');
    return root;
  }

  get isNull(): boolean {
    return this.#tree.isNull(this.#node);
  }

  get isFalse(): boolean {
    return this.#tree.kind(this.#node) === jsonKinds.false;
  }

  get isString(): boolean {
    return this.#tree.isString(this.#node);
  }

  get isArray(): boolean {
    return this.#tree.kind(this.#node) === jsonKinds.array;
  }

  get isEmptyArray(): boolean {
    return this.isArray && this.#tree.count(this.#node) === 0;
  }

  get isObject(): boolean {
    return this.#tree.kind(this.#node) === jsonKinds.object;
  }

  get isZero(): boolean {
    return this.#tree.number(this.#node) === 0;
  }

  /** Returns whether the value is the ASCII string `name`. */
  equals(name: string): boolean {
    return this.isString && this.#tree.is(this.#node, name);
  }

  /** @throws RequestError `REQUEST_FIELD_TYPE` */
  boolean(): boolean {
    if (this.isNull || this.isFalse) return false;
    if (this.#tree.kind(this.#node) !== jsonKinds.true) throw wrongType(this.path, 'a boolean');
    return true;
  }

  /** @throws RequestError `REQUEST_FIELD_TYPE`, `REQUEST_FIELD_RANGE` */
  number(min: number, max: number): number {
    if (this.#tree.kind(this.#node) !== jsonKinds.number) throw wrongType(this.path, 'a number');
    const value = this.#tree.number(this.#node);
    if (value === undefined || value < min || value > max)
      throw outOfRange(this.path, `a number from ${min} to ${max}`);
    return value;
  }

  /** @throws RequestError `REQUEST_FIELD_TYPE`, `REQUEST_FIELD_RANGE` */
  integer(min: number, max: number): number {
    if (this.#tree.kind(this.#node) !== jsonKinds.number) throw wrongType(this.path, 'an integer');
    const value = this.#tree.number(this.#node);
    if (value === undefined || !Number.isInteger(value) || value < min || value > max)
      throw outOfRange(this.path, `an integer from ${min} to ${max}`);
    return value;
  }

  /** Returns a string of 1 to `maxLength` printable ASCII characters, or `undefined` if the value is anything else. */
  ascii(maxLength: number): string | undefined {
    return this.#tree.ascii(this.#node, maxLength);
  }

  /** Copies a string into plaintext memory and adds the copy to `owned`. The owner of `owned` overwrites it. */
  text(owned: Buffer[]): Buffer {
    const text = this.#tree.text(this.#node);
    owned.push(text);
    return text;
  }

  /** Returns a member of an object, or `undefined` if it is missing or null. */
  member(name: string): Field | undefined {
    for (const [key, value] of this.#tree.pairs(this.#node)) {
      if (!this.#tree.is(key, name)) continue;
      return this.#tree.isNull(value)
        ? undefined
        : new Field(this.#tree, value, this.path === '' ? name : `${this.path}.${name}`);
    }
    return undefined;
  }

  /** Returns a member that must be present. @throws RequestError `REQUEST_FIELD_MISSING` */
  required(name: string): Field {
    const field = this.member(name);
    if (field === undefined) throw missing(this.path === '' ? name : `${this.path}.${name}`);
    return field;
  }

  /** Yields the elements of an array. */
  *elements(): Generator<Field> {
    let index = 0;
    for (const node of this.#tree.elements(this.#node)) {
      yield new Field(this.#tree, node, `${this.path}[${index}]`);
      index += 1;
    }
  }

  /** Yields the object's members whose names are in `names`, each with the value from `names`. Nulls are skipped. */
  *knownMembers<T>(names: readonly (readonly [name: string, value: T])[]): Generator<readonly [Field, T]> {
    for (const [key, node] of this.#tree.pairs(this.#node)) {
      if (this.#tree.isNull(node)) continue;
      const known = names.find(([name]) => this.#tree.is(key, name));
      if (known !== undefined) yield [new Field(this.#tree, node, known[0]), known[1]];
    }
  }

  /** Yields all members of an object whose keys should be numbers, such as token ids; other keys yield `undefined`. */
  *numberedMembers(): Generator<readonly [number | undefined, Field]> {
    for (const [key, node] of this.#tree.pairs(this.#node))
      yield [this.#tree.digits(key), new Field(this.#tree, node, this.path)];
  }
}
