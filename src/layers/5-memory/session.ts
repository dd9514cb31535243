/**
 * One conversation in the vault: whose it is, its key's place, its sealed parts and its times. Never a word of it.
 *
 * States: `idle` (sealed), `active` (a turn is under way), `gone` (wiped; nothing brings it back).
 * @module
 */
import type { KeySlot } from './key-arena.ts';
import type { SessionPart } from './session-cipher.ts';
import type { SealedBuffer } from './sealed-buffer.ts';
import type { Fingerprint } from './history-hash.ts';

/** `kept`: has an id that its client knows; `continued`: found again by its fingerprint alone. */
export type SessionKind = 'kept' | 'continued';

/** Why a conversation is gone. */
export type EndReason = 'ended' | 'idle' | 'pressure';

export type Session = {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly idBytes: Buffer;
  /** The token that it belongs to, as 16 opaque bytes. */
  readonly principal: Buffer;
  /** Whether that token is the one of the person who runs the server. */
  readonly operator: boolean;
  readonly kind: SessionKind;
  readonly createdAt: number;
  readonly key: KeySlot;
  readonly sealed: Map<SessionPart, SealedBuffer>;
  /** Under which fingerprints it is found. */
  fingerprints: Fingerprint[];
  state: 'idle' | 'active' | 'gone';
  usedAt: number;
  /** Seals made under its key so far. */
  seals: number;
  turns: number;
  /** Tokens that the model remembers of it. */
  tokens: number;
  /** Breaks off the turn that is under way. */
  abort: (() => void) | undefined;
};

/** What may be told about a conversation. */
export type SessionFacts = {
  readonly id: string;
  readonly kind: SessionKind;
  readonly state: 'idle' | 'active';
  readonly ageMs: number;
  readonly idleMs: number;
  /** Until it is wiped by itself, if nothing happens to it. */
  readonly leftMs: number;
  readonly bytes: number;
  readonly tokens: number;
  readonly turns: number;
};

/** Bytes that its sealed parts take of the machine. */
export function sealedBytesOf(session: Session): number {
  let sum = 0;
  for (const part of session.sealed.values()) sum += part.capacity;
  return sum;
}
