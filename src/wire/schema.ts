/**
 * From `unknown` to a typed value for control messages; extra keys are refused.
 *
 * Trust: a message that fails is a breach by a sibling, never answered.
 * @module
 */
import { KwyreError } from '../base/errors.ts';

export type Schema<T> = {
  /** @throws `WIRE_MESSAGE_SHAPE` naming the place, never the value. */
  check(value: unknown, at: string): T;
  readonly optional?: boolean;
};

export type Infer<S> = S extends Schema<infer T> ? T : never;

function refuse(at: string): never {
  throw new KwyreError('WIRE_MESSAGE_SHAPE', `control message differs from its schema at ${at}`);
}

/** A string of at most `maxLength` UTF-16 units. */
export function string(maxLength: number): Schema<string> {
  return { check: (value, at) => (typeof value === 'string' && value.length <= maxLength ? value : refuse(at)) };
}

/** A finite number between the bounds. */
export function number(min: number, max = Number.MAX_SAFE_INTEGER): Schema<number> {
  return { check: (value, at) => (typeof value === 'number' && value >= min && value <= max ? value : refuse(at)) };
}

/** Exactly `true` or `false`. */
export function boolean(): Schema<boolean> {
  return { check: (value, at) => (typeof value === 'boolean' ? value : refuse(at)) };
}

/** One of the given words. */
export function literals<const W extends readonly string[]>(...words: W): Schema<W[number]> {
  return { check: (value, at) => (typeof value === 'string' && words.includes(value) ? value : refuse(at)) };
}

/** A list of at most `maxItems`. */
export function array<T>(item: Schema<T>, maxItems: number): Schema<T[]> {
  return {
    check(value, at) {
      if (!Array.isArray(value) || value.length > maxItems) return refuse(at);
      return value.map((entry, index) => item.check(entry, `${at}[${String(index)}]`));
    },
  };
}

/** Marks a field that may be absent. */
export function optional<T>(schema: Schema<T>): Schema<T | undefined> & { readonly optional: true } {
  return { optional: true, check: (value, at) => (value === undefined ? undefined : schema.check(value, at)) };
}

type Fields = Record<string, Schema<unknown>>;

/** An object with exactly these keys. */
export function object<F extends Fields>(fields: F): Schema<{ [K in keyof F]: Infer<F[K]> }> {
  return {
    check(value, at) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse(at);
      const source = value as Record<string, unknown>;
      for (const key of Object.keys(source)) if (!Object.hasOwn(fields, key)) return refuse(`${at} (extra key)`);
      const result: Record<string, unknown> = {};
      for (const [key, schema] of Object.entries(fields)) {
        if (!Object.hasOwn(source, key) && schema.optional !== true) return refuse(`${at}.${key}`);
        result[key] = schema.check(source[key], `${at}.${key}`);
      }
      return result as { [K in keyof F]: Infer<F[K]> };
    },
  };
}
