/**
 * The token stream that the parsers share. It also tracks the nesting depth and the enclosing loops and macros.
 *
 * Proof: test/unit/template/parser.test.ts
 * @module
 */
import type { Token } from './lexer.ts';
import { invalid } from './lexer.ts';

/** Nesting limit for expressions and blocks. Each level takes a few stack frames. */
const maxNesting = 128;
const macroVariables: ReadonlySet<string> = new Set(['varargs', 'kwargs', 'caller']);
const endToken: Token = { type: 'end', value: '', number: 0 };

export class TokenStream {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;
  #inLoop = false;
  /** The special variables that each enclosing macro reads. */
  readonly #macros: Set<string>[] = [];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get current(): Token {
    return this.#tokens[this.#at] ?? endToken;
  }

  get lookahead(): Token {
    return this.#tokens[this.#at + 1] ?? endToken;
  }

  next(): Token {
    const token = this.current;
    this.#at += 1;
    return token;
  }

  /** Returns whether the current token has this type and value. */
  is(type: Token['type'], value: string): boolean {
    return this.current.type === type && this.current.value === value;
  }

  /** Skips the current token if it has this type and value. @returns whether it did */
  skip(type: Token['type'], value: string): boolean {
    const found = this.is(type, value);
    if (found) this.#at += 1;
    return found;
  }

  /** Consumes the current token. @throws `TEMPLATE_INVALID` if it has another type or value */
  expect(type: Token['type'], value?: string): Token {
    if (this.current.type !== type || (value !== undefined && this.current.value !== value))
      throw invalid('a tag is incomplete');
    return this.next();
  }

  /** Parses one level of nesting. @throws `TEMPLATE_INVALID` if it is nested too deeply */
  nested<T>(parse: () => T): T {
    if (++this.#depth > maxNesting) throw invalid('it is nested too deeply');
    const result = parse();
    this.#depth -= 1;
    return result;
  }

  /** Parses comma-separated items and the closing bracket `end`. A trailing comma is allowed. */
  list<T>(end: string, parse: () => T): T[] {
    const items: T[] = [];
    while (!this.is('operator', end)) {
      items.push(parse());
      if (!this.skip('operator', ',')) break;
    }
    this.expect('operator', end);
    return items;
  }

  /** Parses a macro. `reads` contains the special variables that its body reads. */
  macro<T>(parse: () => T): { readonly result: T; readonly reads: ReadonlySet<string> } {
    const reads = new Set<string>();
    this.#macros.push(reads);
    const result = parse();
    this.#macros.pop();
    return { result, reads };
  }

  /** Parses a body, inside or outside a loop. */
  loop<T>(inside: boolean, parse: () => T): T {
    const before = this.#inLoop;
    this.#inLoop = inside;
    const result = parse();
    this.#inLoop = before;
    return result;
  }

  get inLoop(): boolean {
    return this.#inLoop;
  }

  /** Records that an expression reads a variable. */
  noteRead(name: string): void {
    if (!macroVariables.has(name)) return;
    for (let i = this.#macros.length - 1; i >= 0; i -= 1) {
      // The macros that enclose this one have already recorded it too.
      if (this.#macros[i]?.has(name) === true) return;
      this.#macros[i]?.add(name);
    }
  }
}
