/**
 * The tokens of a template as its parsers take them, and how deep they may go.
 *
 * Proof: test/unit/template/parser.test.ts
 * @module
 */
import type { Token } from './lexer.ts';
import { invalid } from './lexer.ts';

/** Expressions and blocks within one another; each is a few frames of the stack. */
const maxNesting = 128;
const names: ReadonlySet<string> = new Set(['varargs', 'kwargs', 'caller']);
const nothing: Token = { type: 'end', value: '', number: 0 };

export class TokenStream {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;
  #inLoop = false;
  /** For each macro around this place: the special names that it reads. */
  readonly #macros: Set<string>[] = [];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get current(): Token {
    return this.#tokens[this.#at] ?? nothing;
  }

  get following(): Token {
    return this.#tokens[this.#at + 1] ?? nothing;
  }

  next(): Token {
    const token = this.current;
    this.#at += 1;
    return token;
  }

  /** Whether the current token is this operator or word. */
  is(type: Token['type'], value: string): boolean {
    return this.current.type === type && this.current.value === value;
  }

  /** Goes over the current token when it is this one. */
  skip(type: Token['type'], value: string): boolean {
    const found = this.is(type, value);
    if (found) this.#at += 1;
    return found;
  }

  /** @throws `TEMPLATE_INVALID` when another token stands here. */
  expect(type: Token['type'], value?: string): Token {
    if (this.current.type !== type || (value !== undefined && this.current.value !== value))
      throw invalid('something is missing in a tag');
    return this.next();
  }

  /** Reads something that may hold more of its kind. @throws `TEMPLATE_INVALID` when that goes too deep. */
  within<T>(read: () => T): T {
    if (++this.#depth > maxNesting) throw invalid('it is nested too deep');
    const result = read();
    this.#depth -= 1;
    return result;
  }

  /** Reads a macro; gives what it reads of the names that only macros have. */
  macro<T>(read: () => T): { readonly result: T; readonly reads: ReadonlySet<string> } {
    const reads = new Set<string>();
    this.#macros.push(reads);
    const result = read();
    this.#macros.pop();
    return { result, reads };
  }

  /** Reads a body in which `break` and `continue` have a loop around them, or have none. */
  loop<T>(inside: boolean, read: () => T): T {
    const before = this.#inLoop;
    this.#inLoop = inside;
    const result = read();
    this.#inLoop = before;
    return result;
  }

  get inLoop(): boolean {
    return this.#inLoop;
  }

  /** A variable is read here. */
  reads(name: string): void {
    if (!names.has(name)) return;
    for (let i = this.#macros.length - 1; i >= 0; i -= 1) {
      // The macros around one that knows it know it too.
      if (this.#macros[i]?.has(name) === true) return;
      this.#macros[i]?.add(name);
    }
  }
}
