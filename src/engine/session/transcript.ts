/**
 * The words of a conversation with an id: its items, one after another, as bytes that are sealed between turns.
 *
 * Layout of an item (little endian): u8 role, 3 zero bytes, u32 length, u32 turn, u32 unix time, 12 bytes id; then the
 * text.
 * Promise: every text is memory of its own that `[Symbol.dispose]` overwrites; a text is never a string.
 * Proof:   test/e2e/sessions.test.ts
 * @module
 */
import { copyPlaintext, wipeBytes, plaintextBytes } from '../../base/bytes.ts';
import { bug } from '../../base/errors.ts';
import type { Message, Role } from '../types.ts';

/** The roles by their number, in transcripts and fingerprints. */
export const roleOrder: readonly Role[] = ['system', 'developer', 'user', 'assistant', 'tool'];

export type Item = {
  readonly id: string;
  readonly role: Role;
  readonly turn: number;
  readonly createdSeconds: number;
  readonly text: Buffer;
};

const headBytes = 28;
const idBytes = 12;

export class Transcript {
  readonly items: Item[] = [];
  readonly #randomHex: (count: number) => string;

  constructor(randomHex: (count: number) => string) {
    this.#randomHex = randomHex;
  }

  /** Reads what {@link write} wrote; the caller overwrites `bytes`. */
  read(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      const length = bytes.readUInt32LE(at + 4);
      if (at + headBytes + length > bytes.length) bug('a transcript that ends early');
      this.items.push({
        id: bytes.toString('hex', at + 16, at + 16 + idBytes),
        role: roleOrder[bytes[at] ?? 0] ?? bug('a role of no transcript'),
        turn: bytes.readUInt32LE(at + 8),
        createdSeconds: bytes.readUInt32LE(at + 12),
        text: copyPlaintext(bytes.subarray(at + headBytes, at + headBytes + length)),
      });
      at += headBytes + length;
    }
  }

  /** A fresh id of an item. */
  makeId(): string {
    return this.#randomHex(2 * idBytes);
  }

  /** Adds a text, which is copied; gives the item. */
  add(role: Role, text: Uint8Array, turn: number, createdSeconds: number, id = this.makeId()): Item {
    const item: Item = { id, role, turn, createdSeconds, text: copyPlaintext(text) };
    this.items.push(item);
    return item;
  }

  get bytes(): number {
    return this.items.reduce((sum, item) => sum + headBytes + item.text.length, 0);
  }

  /** All items as bytes; the caller overwrites them. */
  write(): Buffer {
    const bytes = plaintextBytes(this.bytes);
    let at = 0;
    for (const { id, role, turn, createdSeconds, text } of this.items) {
      bytes[at] = roleOrder.indexOf(role);
      bytes.writeUInt32LE(text.length, at + 4);
      bytes.writeUInt32LE(turn, at + 8);
      bytes.writeUInt32LE(createdSeconds, at + 12);
      bytes.write(id, at + 16, idBytes, 'hex');
      bytes.set(text, at + headBytes);
      at += headBytes + text.length;
    }
    return bytes;
  }

  /** The items as messages of a prompt: views, valid until this is disposed. */
  get messages(): Message[] {
    return this.items.map(({ role, text }) => ({ role, parts: [text] }));
  }

  /** Takes out the items of which `unwanted` is true and overwrites them; gives how many. */
  remove(unwanted: (item: Item) => boolean): number {
    const kept = this.items.filter((item) => !unwanted(item));
    const count = this.items.length - kept.length;
    for (const item of this.items) if (unwanted(item)) wipeBytes(item.text);
    this.items.splice(0, this.items.length, ...kept);
    return count;
  }

  /** Overwrites every text; safe to call twice. */
  [Symbol.dispose](): void {
    for (const { text } of this.items) wipeBytes(text);
  }
}
