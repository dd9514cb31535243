/**
 * One conversation in the vault: its owner, key slot, sealed parts and times, but no text.
 *
 * States: `idle` (encrypted), `active` (a turn is running), `gone` (wiped for good).
 * @module
 */
import { copyBytes } from '../../base/bytes.ts';
import type { Fingerprint } from './history-hash.ts';
import type { KeySlot } from './key-arena.ts';
import type { SealedBuffer } from './sealed-buffer.ts';
import type { SessionPart } from './session-cipher.ts';

/** `kept`: its client knows its id; `continued`: it is found only by its fingerprint. */
export type SessionKind = 'kept' | 'continued';

/** Why a conversation is gone: its client or the operator ended it, its idle time ran out, or it was evicted. */
export type EndReason = 'ended' | 'idle' | 'pressure';

export type Session = {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly idBytes: Buffer;
  /** The token it belongs to, as 16 opaque bytes. */
  readonly principal: Buffer;
  /** Whether that is the token of the user who runs the server. */
  readonly operator: boolean;
  readonly kind: SessionKind;
  readonly createdAt: number;
  readonly key: KeySlot;
  readonly sealed: Map<SessionPart, SealedBuffer>;
  /** The fingerprints by which it can be found. */
  fingerprints: Fingerprint[];
  state: 'idle' | 'active' | 'gone';
  usedAt: number;
  /** Number of parts sealed under its key so far. */
  seals: number;
  turns: number;
  /** Number of tokens in its KV cache. */
  tokens: number;
  /** Aborts the running turn. */
  abort: (() => void) | undefined;
};

/** Creates a conversation whose first turn is running. @param idBytes - belongs to the conversation from now on */
export function beginSession(begin: {
  readonly idBytes: Buffer;
  readonly owner: { readonly principal: Buffer; readonly operator: boolean };
  readonly kind: SessionKind;
  readonly key: KeySlot;
  readonly now: number;
}): Session {
  const { idBytes, owner, kind, key, now } = begin;
  return {
    id: idBytes.toString('hex'),
    idBytes,
    principal: copyBytes(owner.principal),
    operator: owner.operator,
    kind,
    createdAt: now,
    key,
    sealed: new Map(),
    fingerprints: [],
    state: 'active',
    usedAt: now,
    seals: 0,
    turns: 0,
    tokens: 0,
    abort: undefined,
  };
}

/** The facts about a conversation that the API returns. */
export type SessionFacts = {
  readonly id: string;
  readonly kind: SessionKind;
  readonly state: 'idle' | 'active';
  readonly ageMs: number;
  readonly idleMs: number;
  /** Milliseconds until the conversation is wiped if it is not used. */
  readonly leftMs: number;
  readonly bytes: number;
  readonly tokens: number;
  readonly turns: number;
};

/** Returns the size of the sealed parts of a conversation in memory, in bytes. */
export function sealedBytesOf(session: Session): number {
  let sum = 0;
  for (const part of session.sealed.values()) sum += part.capacity;
  return sum;
}

/** Returns the facts about a conversation that is wiped after `lifeMs` without use. */
export function factsOf(session: Session, lifeMs: number, now: number): SessionFacts {
  const isActive = session.state === 'active';
  const idleMs = isActive ? 0 : now - session.usedAt;
  return {
    id: session.id,
    kind: session.kind,
    state: isActive ? 'active' : 'idle',
    ageMs: now - session.createdAt,
    idleMs,
    leftMs: Math.max(0, lifeMs - idleMs),
    bytes: sealedBytesOf(session),
    tokens: session.tokens,
    turns: session.turns,
  };
}
