/**
 * Removes control sequences from the text of a model or a server before it reaches a terminal.
 *
 * Promise: no escape, control or bidirectional control character except newline and tab reaches the terminal, even if a
 *          sequence is split between two pieces. An unterminated string sequence hides at most 4,096 characters.
 * Source:  ECMA-48; OSC, DCS, SOS, PM and APC strings end with BEL or ST
 * Proof:   test/unit/cli/terminal.test.ts
 * @module
 */

type State = 'text' | 'escape' | 'control' | 'string' | 'string-escape';

const longestString = 4096;
const directional = /[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

/** Whether a character may be printed. */
function shown(character: string, code: number): boolean {
  if (character === '\n' || character === '\t') return true;
  return code >= 0x20 && !(code >= 0x7f && code <= 0x9f) && !directional.test(character);
}

/** Removes control sequences from text that arrives in pieces. */
export class PlainTextStream {
  #state: State = 'text';
  #stringLength = 0;

  push(piece: string): string {
    let out = '';
    for (const character of piece) {
      if (this.#step(character, character.codePointAt(0) ?? 0)) out += character;
    }
    return out;
  }

  /** Consumes one character. @returns whether to print it */
  #step(character: string, code: number): boolean {
    switch (this.#state) {
      case 'text':
        if (code === 0x1b) this.#state = 'escape';
        else if (code === 0x9b) this.#state = 'control';
        else if (code === 0x90 || code === 0x98 || (code >= 0x9d && code <= 0x9f)) this.#enterString();
        else return shown(character, code);
        return false;
      case 'escape':
        if (character === '[') this.#state = 'control';
        else if (']PX^_'.includes(character)) this.#enterString();
        else if (code >= 0x30 || code < 0x20) this.#state = code === 0x1b ? 'escape' : 'text';
        return false;
      case 'control':
        if (code >= 0x40 || code < 0x20) this.#state = code === 0x1b ? 'escape' : 'text';
        return false;
      case 'string':
        this.#stringLength += 1;
        if (code === 0x1b) this.#state = 'string-escape';
        else if (code === 0x07 || code === 0x9c || this.#stringLength > longestString) this.#state = 'text';
        return false;
      case 'string-escape':
        if (character === '\\') this.#state = 'text';
        else this.#state = code === 0x1b ? 'string-escape' : 'string';
        return false;
    }
  }

  #enterString(): void {
    this.#state = 'string';
    this.#stringLength = 0;
  }
}

/** Removes control sequences from a complete text. */
export function plainText(text: string): string {
  return new PlainTextStream().push(text);
}
