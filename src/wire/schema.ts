/**
 * Schemas for control messages. A schema checks an unknown value and returns it with its type. Extra keys are refused.
 *
 * Each schema also states its shape, so that a test can examine everything a jailed process may send
 * (`covert-channels.ts`).
 *
 * Trust: a message that does not match is a breach by the peer and gets no reply.
 * Proof: test/unit/wire/covert-channels.test.ts
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import { printable } from '../base/untrusted-text.ts';

/** The values that a schema accepts. */
export type Shape =
  | { readonly kind: 'boolean' }
  | { readonly kind: 'literals'; readonly words: readonly string[] }
  | { readonly kind: 'whole'; readonly min: number; readonly max: number }
  /** A finite number within the bounds. */
  | { readonly kind: 'number'; readonly min: number; readonly max: number }
  /** A string that is passed on unchanged; used for orders from the supervisor. */
  | { readonly kind: 'string'; readonly maxLength: number }
  /** A string that is sanitised and truncated for display. */
  | { readonly kind: 'text'; readonly maxLength: number }
  | { readonly kind: 'array'; readonly item: Shape; readonly maxItems: number }
  | { readonly kind: 'object'; readonly fields: Readonly<Record<string, Shape>> };

type Schema<T> = {
  readonly shape: Shape;
  /** Checks a value. @throws `WIRE_MESSAGE_SHAPE` with the path of the value, never the value itself */
  check(value: unknown, at: string): T;
  readonly optional?: boolean;
};

export type Infer<S> = S extends Schema<infer T> ? T : never;

function refuse(at: string): never {
  throw new KwyreError('WIRE_MESSAGE_SHAPE', `control message does not match its schema at ${at}`);
}

/** A string of at most `maxLength` UTF-16 code units. */
export function string(maxLength: number): Schema<string> {
  return {
    shape: { kind: 'string', maxLength },
    check: (value, at) => (typeof value === 'string' && value.length <= maxLength ? value : refuse(at)),
  };
}

/** Text from a jailed process, sanitised and truncated to `maxLength` for display. */
export function text(maxLength: number): Schema<string> {
  return {
    shape: { kind: 'text', maxLength },
    check: (value, at) => (typeof value === 'string' ? printable(value, maxLength) : refuse(at)),
  };
}

/** An integer within the bounds. */
export function whole(min: number, max: number): Schema<number> {
  return {
    shape: { kind: 'whole', min, max },
    check: (value, at) =>
      Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
        ? (value as number)
        : refuse(at),
  };
}

/** A finite number within the bounds. */
export function number(min: number, max = Number.MAX_SAFE_INTEGER): Schema<number> {
  return {
    shape: { kind: 'number', min, max },
    check: (value, at) => (typeof value === 'number' && value >= min && value <= max ? value : refuse(at)),
  };
}

export function boolean(): Schema<boolean> {
  return { shape: { kind: 'boolean' }, check: (value, at) => (typeof value === 'boolean' ? value : refuse(at)) };
}

/** One of the given strings. */
export function literals<const W extends readonly string[]>(...words: W): Schema<W[number]> {
  return {
    shape: { kind: 'literals', words },
    check: (value, at) => (typeof value === 'string' && words.includes(value) ? value : refuse(at)),
  };
}

/** An array of at most `maxItems` items. */
export function array<T>(item: Schema<T>, maxItems: number): Schema<T[]> {
  return {
    shape: { kind: 'array', item: item.shape, maxItems },
    check(value, at) {
      if (!Array.isArray(value) || value.length > maxItems) return refuse(at);
      return value.map((entry, index) => item.check(entry, `${at}[${String(index)}]`));
    },
  };
}

/** Marks an object field that may be absent. */
export function optional<T>(schema: Schema<T>): Schema<T | undefined> & { readonly optional: true } {
  return {
    shape: schema.shape,
    optional: true,
    check: (value, at) => (value === undefined ? undefined : schema.check(value, at)),
  };
}

type Fields = Record<string, Schema<unknown>>;

/** An object with exactly these keys. */
export function object<F extends Fields>(fields: F): Schema<{ [K in keyof F]: Infer<F[K]> }> {
  return {
    shape: {
      kind: 'object',
      fields: Object.fromEntries(Object.entries(fields).map(([key, schema]) => [key, schema.shape])),
    },
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
