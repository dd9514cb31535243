/**
 * Splits the source of a chat template into tokens, like Jinja with `trim_blocks` and `lstrip_blocks`.
 *
 * Promise: runs in time linear in the source's length, because each character is read a bounded number of times.
 * Trust:   the source comes with the model and may be hostile. Its length is checked first.
 * Limits:  names are ASCII. Python's `\N{...}` and surrogate escapes in strings are refused.
 * Source:  https://github.com/pallets/jinja/blob/3.1.6/src/jinja2/lexer.py
 * Proof:   test/unit/template/parser.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';

/** A token of a template's source. */
export type Token = {
  /** The kind of token. */
  readonly type:
    | 'data'
    | 'print'
    | 'print-end'
    | 'block'
    | 'block-end'
    | 'name'
    | 'string'
    | 'integer'
    | 'float'
    | 'operator'
    | 'end';
  /** Literal text, a name, a number as written, an operator's characters, or a decoded string; otherwise empty. */
  readonly value: string;
  /** The value of a numeric token. */
  readonly number: number;
};

/** @internal */
export const sourceLimits = { characters: 256 * 1024, tokens: 128 * 1024 } as const;

/** Returns the error for a source that is not a valid template. @param why - a clause that consists of constants */
export function invalid(why: string): KwyreError {
  return new KwyreError(
    'TEMPLATE_INVALID',
    `the model's chat template cannot be parsed: ${why}`,
    'use another build of this model',
  );
}

// Whitespace as Python defines it, which differs from JavaScript's definition.
const space = '[\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const spaces = new RegExp(`${space}*`, 'y');
const isSpace = new RegExp(space);
const rawBegin = new RegExp(`\\{%([-+]?)${space}*raw${space}*(?:-%\\}${space}*|%\\})`, 'y');
const rawEnd = new RegExp(`\\{%([-+]?)${space}*endraw${space}*(?:\\+%\\}|-%\\}${space}*|%\\}\\n?)`, 'y');
const blockEnd = new RegExp(`\\+%\\}|-%\\}${space}*|%\\}\\n?`, 'y');
const printEnd = new RegExp(`-\\}\\}${space}*|\\}\\}`, 'y');
const commentEnd = new RegExp(`\\+#\\}|-#\\}${space}*|#\\}\\n?`, 'y');
const float = /(?<!\.)\d+(?:_\d+)*(?:(?:\.\d+(?:_\d+)*)?e[+-]?\d+(?:_\d+)*|\.\d+(?:_\d+)*)/iy;
const integer = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const name = /[A-Za-z_]\w*/y;
const operator = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,]/y;
const closing: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };
const simpleEscapes: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  b: '\b',
  f: '\f',
  v: '\v',
  a: '\x07',
  "'": "'",
  '"': '"',
  '\\': '\\',
  '\n': '',
};
const hexEscapes: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** Decodes the content of a string literal like Python. */
function unescape(body: string): string {
  if (!body.includes('\\')) return body;
  const out: string[] = [];
  for (let at = 0; at < body.length;) {
    const stop = body.indexOf('\\', at);
    out.push(body.slice(at, stop < 0 ? body.length : stop));
    if (stop < 0) break;
    const letter = body.charAt(stop + 1);
    const digits = hexEscapes[letter];
    const octal = /^[0-7]{1,3}/.exec(body.slice(stop + 1, stop + 4))?.[0];
    if (digits !== undefined) {
      const hex = body.slice(stop + 2, stop + 2 + digits);
      const code = /^[0-9a-fA-F]+$/.test(hex) && hex.length === digits ? Number.parseInt(hex, 16) : -1;
      if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        throw invalid('a string has an invalid escape');
      out.push(String.fromCodePoint(code));
      at = stop + 2 + digits;
    } else if (octal !== undefined) {
      out.push(String.fromCodePoint(Number.parseInt(octal, 8)));
      at = stop + 1 + octal.length;
    } else {
      if (letter === 'N' || letter > '\x7f') throw invalid('a string has an unsupported escape');
      // Python leaves an unknown escape unchanged.
      out.push(simpleEscapes[letter] ?? `\\${letter}`);
      at = stop + 2;
    }
  }
  return out.join('');
}

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #lineStarts = true;

  constructor(source: string) {
    this.#source = source;
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#source);
    if (found !== null) this.#at = pattern.lastIndex;
    return found ?? undefined;
  }

  #push(type: Token['type'], value: string, number = 0): void {
    if (this.#tokens.length >= sourceLimits.tokens) throw invalid('it has too many tokens');
    this.#tokens.push({ type, value, number });
  }

  /** Adds the text before a tag, without the whitespace that the tag strips. */
  #data(from: number, to: number, sign: string, strips: boolean): void {
    let end = to;
    if (sign === '-') while (end > from && isSpace.test(this.#source.charAt(end - 1))) end -= 1;
    else if (sign === '' && strips) {
      let start = end;
      while (start > from && this.#source.charAt(start - 1) !== '\n' && isSpace.test(this.#source.charAt(start - 1)))
        start -= 1;
      // Strip only if nothing but whitespace precedes the tag on its line.
      if (start > from ? this.#source.charAt(start - 1) === '\n' : this.#lineStarts) end = start;
    }
    if (end > from) this.#push('data', this.#source.slice(from, end));
  }

  #noteLineStart(): void {
    this.#lineStarts = this.#source.charAt(this.#at - 1) === '\n';
  }

  run(): Token[] {
    const source = this.#source;
    while (this.#at < source.length) {
      const from = this.#at;
      let tag = source.indexOf('{', from);
      while (tag >= 0 && !'%{#'.includes(source.charAt(tag + 1) || ' ')) tag = source.indexOf('{', tag + 1);
      if (tag < 0) {
        this.#push('data', source.slice(from));
        break;
      }
      const kind = source.charAt(tag + 1);
      this.#at = tag;
      const raw = kind === '%' ? this.#match(rawBegin) : undefined;
      const sign = raw?.[1] ?? (/[-+]/.test(source.charAt(tag + 2)) ? source.charAt(tag + 2) : '');
      this.#data(from, tag, sign, kind !== '{');
      if (raw !== undefined) {
        this.#noteLineStart();
        this.#raw();
        continue;
      }
      this.#at = tag + 2 + sign.length;
      if (kind === '#') this.#comment();
      else {
        this.#push(kind === '%' ? 'block' : 'print', '');
        this.#tag(kind === '%' ? blockEnd : printEnd, kind === '%' ? 'block-end' : 'print-end');
      }
      this.#noteLineStart();
    }
    this.#push('end', '');
    return this.#tokens;
  }

  #raw(): void {
    const from = this.#at;
    for (let at = this.#source.indexOf('{%', from); at >= 0; at = this.#source.indexOf('{%', at + 1)) {
      this.#at = at;
      const found = this.#match(rawEnd);
      if (found === undefined) continue;
      this.#data(from, at, found[1] ?? '', true);
      this.#noteLineStart();
      return;
    }
    throw invalid('a raw block is not closed');
  }

  #comment(): void {
    const end = this.#source.indexOf('#}', this.#at);
    if (end < 0) throw invalid('a comment is not closed');
    const sign = this.#source.charAt(end - 1);
    this.#at = end > this.#at && (sign === '-' || sign === '+') ? end - 1 : end;
    this.#match(commentEnd);
  }

  /** Reads the tokens after `{{` or `{%` up to the end of the tag. Inside brackets, `}}` and `%}` do not end it. */
  #tag(end: RegExp, endType: Token['type']): void {
    const open: string[] = [];
    for (;;) {
      if (open.length === 0 && this.#match(end) !== undefined) {
        this.#push(endType, '');
        return;
      }
      this.#match(spaces);
      if (this.#at >= this.#source.length) throw invalid('a tag is not closed');
      if (open.length === 0 && this.#match(end) !== undefined) {
        this.#push(endType, '');
        return;
      }
      this.#expressionToken(open);
    }
  }

  #expressionToken(open: string[]): void {
    const quote = this.#source.charAt(this.#at);
    if (quote === '"' || quote === "'") {
      this.#string(quote);
      return;
    }
    let found = this.#match(float);
    if (found !== undefined) {
      this.#push('float', found[0], Number(found[0].replaceAll('_', '')));
      return;
    }
    found = this.#match(integer);
    if (found !== undefined) {
      this.#push('integer', found[0], Number(found[0].replaceAll('_', '')));
      return;
    }
    found = this.#match(name);
    if (found !== undefined) {
      this.#push('name', found[0]);
      return;
    }
    found = this.#match(operator);
    if (found === undefined) throw invalid('a tag has an unexpected character');
    const [sign] = found;
    const close = closing[sign];
    if (close !== undefined) open.push(close);
    else if (')]}'.includes(sign) && open.pop() !== sign) throw invalid('brackets do not match');
    this.#push('operator', sign);
  }

  #string(quote: string): void {
    const from = this.#at + 1;
    let at = from;
    for (; at < this.#source.length; at += 1) {
      const letter = this.#source.charAt(at);
      if (letter === '\\') at += 1;
      else if (letter === quote) break;
    }
    if (at >= this.#source.length) throw invalid('a string is not closed');
    this.#at = at + 1;
    this.#push('string', unescape(this.#source.slice(from, at)));
  }
}

/**
 * Splits a source into tokens.
 * @throws `TEMPLATE_INVALID`
 */
export function tokenize(source: string): Token[] {
  if (source.length > sourceLimits.characters) throw invalid('it is too long');
  const lines = source.replace(/\r\n?/g, '\n');
  return new Lexer(lines.endsWith('\n') ? lines.slice(0, -1) : lines).run();
}
