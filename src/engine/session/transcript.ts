/**
 * The items of a stored conversation, and the serialised form in which they are sealed between turns.
 *
 * Layout of an item (little endian): u8 role, 3 zero bytes, u32 length, u32 turn, u32 Unix time, 12-byte id, text.
 * Promise: every text has its own plaintext memory, which `[Symbol.dispose]` overwrites. No text becomes a string.
 * Proof:   test/e2e/sessions.test.ts
 * @module
 */
import { copyPlaintext, plaintextBytes, wipeBytes } from '../../base/bytes.ts';
import { bug } from '../../base/errors.ts';
import type { Message, Role } from '../types.ts';

/** The roles. A role's index is its number in transcripts and fingerprints. */
export const roleOrder: readonly Role[] = ['system', 'developer', 'user', 'assistant', 'tool'];

export type Item = {
  /** Random id of 24 hexadecimal digits. */
  readonly id: string;
  readonly role: Role;
  /** Number of the turn, counted from 1. */
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

  /** Parses bytes returned by {@link write}. The caller overwrites `bytes`. */
  read(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      const length = bytes.readUInt32LE(at + 4);
      if (at + headBytes + length > bytes.length) bug('a truncated transcript');
      this.items.push({
        id: bytes.toString('hex', at + 16, at + 16 + idBytes),
        role: roleOrder[bytes[at] ?? 0] ?? bug('an unknown role in a transcript'),
        turn: bytes.readUInt32LE(at + 8),
        createdSeconds: bytes.readUInt32LE(at + 12),
        text: copyPlaintext(bytes.subarray(at + headBytes, at + headBytes + length)),
      });
      at += headBytes + length;
    }
  }

  /** Returns a random id for an item. */
  makeId(): string {
    return this.#randomHex(2 * idBytes);
  }

  /** Adds an item and copies its text. */
  add({ id = this.makeId(), ...item }: Omit<Item, 'id'> & { readonly id?: string }): Item {
    const added: Item = { ...item, id, text: copyPlaintext(item.text) };
    this.items.push(added);
    return added;
  }

  get #bytes(): number {
    return this.items.reduce((sum, item) => sum + headBytes + item.text.length, 0);
  }

  /** Serialises all items. The caller overwrites the returned bytes. */
  write(): Buffer {
    const bytes = plaintextBytes(this.#bytes);
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

  /** The items as messages of a prompt. They are views that are valid until the transcript is disposed. */
  get messages(): Message[] {
    return this.items.map(({ role, text }) => ({ role, parts: [text] }));
  }

  /** Removes and overwrites the items that match. @returns the number of items removed */
  remove(matches: (item: Item) => boolean): number {
    const kept = this.items.filter((item) => !matches(item));
    const count = this.items.length - kept.length;
    for (const item of this.items) if (matches(item)) wipeBytes(item.text);
    this.items.splice(0, this.items.length, ...kept);
    return count;
  }

  /** Overwrites every text; safe to call twice. */
  [Symbol.dispose](): void {
    for (const { text } of this.items) wipeBytes(text);
  }
}
