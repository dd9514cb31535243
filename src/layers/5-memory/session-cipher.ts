/**
 * Seals and opens one part of a conversation: AES-256-GCM under the conversation's own key, bound to whose it is.
 *
 * Promise: a nonce is the count of the seals under a key and the kind of the part, so none comes twice; the
 *          conversation's id, its owner, the kind and the count are authenticated: a sealed part opens nowhere else and
 *          no second time in an older form.
 * Proof:   test/unit/layers/5-session-cipher.test.ts
 * @module
 */
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { mapMemory, pageBytes, viewMemory } from '../../linux/memory/mapped-memory.ts';
import { decryptMemory, encryptMemory, nonceBytes, tagBytes } from '../../linux/memory/openssl.ts';
import type { SealedBuffer } from './sealed-buffer.ts';

/** Parts of a conversation: its words, and what the model remembers of them. */
export const partNumbers = { history: 1, state: 2 } as const;
export type SessionPart = keyof typeof partNumbers;

/** Whose part it is. */
export type Owner = { readonly idBytes: Buffer; readonly principal: Buffer };

const layout = { nonce: 0n, tag: 16n, binding: 32n } as const;
const bindingBytes = 16 + 16 + 1 + 8;

export class SessionCipher {
  readonly #page = mapMemory(pageBytes);
  readonly #view = viewMemory(this.#page, pageBytes);

  #bind(
    owner: Owner,
    part: SessionPart,
    sequence: number,
  ): { nonce: Address; binding: { address: Address; bytes: number }; tag: Address } {
    const view = this.#view;
    view.writeBigUInt64LE(BigInt(sequence), 0);
    view.writeUInt32LE(partNumbers[part], nonceBytes - 4);
    const at = Number(layout.binding);
    view.set(owner.idBytes.subarray(0, 16), at);
    view.set(owner.principal.subarray(0, 16), at + 16);
    view[at + 32] = partNumbers[part];
    view.writeBigUInt64LE(BigInt(sequence), at + 33);
    return {
      nonce: this.#page + layout.nonce,
      binding: { address: this.#page + layout.binding, bytes: bindingBytes },
      tag: this.#page + layout.tag,
    };
  }

  /** Encrypts into a sealed part that has room for it. */
  seal(
    key: Address,
    owner: Owner,
    part: SessionPart,
    sequence: number,
    from: Address,
    bytes: number,
    into: SealedBuffer,
  ): void {
    const { nonce, binding, tag } = this.#bind(owner, part, sequence);
    encryptMemory(key, nonce, binding, from, into.address, bytes, tag);
    into.tag.set(this.#view.subarray(Number(layout.tag), Number(layout.tag) + tagBytes));
    into.bytes = bytes;
    into.sequence = sequence;
  }

  /** Decrypts; `false` when it is not what was sealed. */
  open(key: Address, owner: Owner, part: SessionPart, sealed: SealedBuffer, to: Address): boolean {
    const { nonce, binding, tag } = this.#bind(owner, part, sealed.sequence);
    this.#view.set(sealed.tag, Number(layout.tag));
    return decryptMemory(key, nonce, binding, sealed.address, to, sealed.bytes, tag);
  }
}
