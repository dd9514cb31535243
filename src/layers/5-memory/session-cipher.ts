/**
 * Encrypts and decrypts one part of a conversation with AES-256-GCM, under the conversation's key and bound to its
 * owner.
 *
 * Promise: a nonce consists of the kind of part and a counter of the seals made under the key, so no nonce is used
 *          twice. The id of the conversation, its owner, the kind and the counter are authenticated, so a sealed part
 *          does not decrypt anywhere else, and an older part cannot replace a newer one.
 * Proof:   test/unit/layers/5-session-cipher.test.ts
 * @module
 */
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { mapMemory, pageBytes, viewMemory } from '../../linux/memory/mapped-memory.ts';
import { decryptMemory, encryptMemory, nonceBytes, tagBytes } from '../../linux/memory/openssl.ts';
import type { SealedBuffer } from './sealed-buffer.ts';

/** The parts of a conversation, its text and its KV cache, with their numbers in the nonce. */
const partNumbers = { history: 1, state: 2 } as const;
export type SessionPart = keyof typeof partNumbers;

/** The conversation and its token. */
type Owner = { readonly idBytes: Buffer; readonly principal: Buffer };

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

  /** Encrypts a part into a buffer that has room for it. */
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

  /** Decrypts a part; returns `false` if authentication fails. */
  open(key: Address, owner: Owner, part: SessionPart, sealed: SealedBuffer, to: Address): boolean {
    const { nonce, binding, tag } = this.#bind(owner, part, sealed.sequence);
    this.#view.set(sealed.tag, Number(layout.tag));
    return decryptMemory(key, nonce, binding, sealed.address, to, sealed.bytes, tag);
  }
}
