/**
 * Validates the JSON of signed documents and returns typed values. Unknown fields are refused unless the caller allows
 * them.
 *
 * Trust: the document is untrusted; errors name the location of the fault but never repeat its content.
 * @module
 */
import type { Fault } from './verification-error.ts';

/** A JSON object with validated field names. */
export type Fields = Readonly<Record<string, unknown>>;

/** Validates parts of one document; every error has the same code and names the location. */
export class Shape {
  readonly #refuse: (at: string, what: string) => never;

  constructor(fault: Fault, noun: string, what: string) {
    this.#refuse = (at, problem) => {
      throw fault(noun, `${what}: ${at} ${problem}`);
    };
  }

  /** Refuses the document. */
  refuse(at: string, what: string): never {
    return this.#refuse(at, what);
  }

  /** Parses UTF-8 JSON of at most `maxBytes`; refuses a byte order mark, other encodings and trailing data. */
  json(bytes: Buffer, maxBytes: number): unknown {
    if (bytes.length === 0) return this.#refuse('the document', 'is empty');
    if (bytes.length > maxBytes) return this.#refuse('the document', 'is too large');
    try {
      return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)) as unknown;
    } catch {
      return this.#refuse('the document', 'is not JSON');
    }
  }

  /** Returns an object with all `required` fields and no others except `optional` ones (any others if `open`). */
  object(
    value: unknown,
    at: string,
    required: readonly string[],
    optional: readonly string[] = [],
    open = false,
  ): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return this.#refuse(at, 'is not an object');
    const fields = value as Fields;
    for (const key of required) if (!Object.hasOwn(fields, key)) this.#refuse(`${at}.${key}`, 'is missing');
    if (!open)
      for (const key of Object.keys(fields))
        if (!required.includes(key) && !optional.includes(key)) this.#refuse(at, 'has an unknown field');
    return fields;
  }

  /** Returns an array of `min` to `max` elements. */
  list(value: unknown, at: string, min: number, max: number): readonly unknown[] {
    if (!Array.isArray(value) || value.length < min || value.length > max)
      return this.#refuse(at, `is not a list of ${min} to ${max} elements`);
    return value;
  }

  /** Returns a string that matches a pattern. */
  text(value: unknown, at: string, pattern: RegExp): string {
    return typeof value === 'string' && pattern.test(value) ? value : this.#refuse(at, 'has the wrong form');
  }

  /** Returns the value if it is exactly the expected one. */
  same<const T extends string | boolean>(value: unknown, at: string, expected: T): T {
    return value === expected ? expected : this.#refuse(at, `is not ${String(expected)}`);
  }

  /** Returns a safe integer of at least `min`. */
  integer(value: unknown, at: string, min: number): number {
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= min
      ? value
      : this.#refuse(at, 'is not an integer in range');
  }

  /** Decodes padded standard base64; refuses any encoding that is not canonical. */
  base64(value: unknown, at: string): Buffer {
    if (typeof value !== 'string') return this.#refuse(at, 'is not base64');
    const bytes = Buffer.from(value, 'base64');
    return bytes.length > 0 && bytes.toString('base64') === value ? bytes : this.#refuse(at, 'is not base64');
  }
}
