/**
 * Tracks how much of the vault each token uses, in conversations and in sealed bytes, and decides whose conversation is
 * evicted when the vault is full.
 *
 * Promise: a share is the total divided by the number of tokens that use or request some of it. A token within its
 *          share never loses a conversation to another token's request. The operator's token keeps its share.
 * Limits:  only idle conversations are evicted; a running turn is never interrupted for another token.
 * Source:  ADR 0022
 * Proof:   test/unit/layers/5-shares.test.ts, test/attacks/5-shares.test.ts
 * @module
 */
import type { Session, SessionKind } from './session.ts';
import { sealedBytesOf } from './session.ts';

/** A token that owns conversations, as 16 opaque bytes. `operator`: it is the token of the user who runs the server. */
export type TokenOwner = { readonly principal: Buffer; readonly operator: boolean };

/** The quantity that is counted. */
export type Measure = 'sessions' | 'bytes';

type Usage = {
  readonly name: string;
  readonly operator: boolean;
  /** Conversations, the least recently used first. */
  readonly sessions: Set<Session>;
  readonly kinds: Record<SessionKind, number>;
  bytes: number;
};

const nameOf = ({ principal }: { readonly principal: Buffer }): string => principal.toString('hex');
const amount = (holding: Usage, measure: Measure): number =>
  measure === 'bytes' ? holding.bytes : holding.sessions.size;
const oldestIdle = (holding: Usage | undefined, kind?: SessionKind): Session | undefined =>
  holding?.sessions
    .values()
    .find((session) => session.state === 'idle' && (kind === undefined || session.kind === kind));

export class PerTokenUsage {
  readonly #holdings = new Map<string, Usage>();

  /** Returns the number of tokens that own conversations, including this one. */
  ownersWith(holder: TokenOwner): number {
    return this.#holdings.size + (this.#holdings.has(nameOf(holder)) ? 0 : 1);
  }

  sessionsOf(holder: TokenOwner, kind: SessionKind): number {
    return this.#holdings.get(nameOf(holder))?.kinds[kind] ?? 0;
  }

  bytesOf(holder: TokenOwner): number {
    return this.#holdings.get(nameOf(holder))?.bytes ?? 0;
  }

  /** Counts a new conversation. */
  add(session: Session): void {
    const name = nameOf(session);
    const holding = this.#holdings.get(name) ?? {
      name,
      operator: session.operator,
      sessions: new Set(),
      kinds: { kept: 0, continued: 0 },
      bytes: 0,
    };
    this.#holdings.set(name, holding);
    holding.sessions.add(session);
    holding.kinds[session.kind] += 1;
  }

  /** Stops counting a conversation. */
  remove(session: Session): void {
    const holding = this.#holdings.get(nameOf(session));
    if (holding?.sessions.delete(session) !== true) return;
    holding.kinds[session.kind] -= 1;
    if (holding.sessions.size === 0) this.#holdings.delete(holding.name);
  }

  /** Marks a conversation as the most recently used, so that it is evicted last. */
  touch(session: Session): void {
    const sessions = this.#holdings.get(nameOf(session))?.sessions;
    if (sessions?.delete(session) === true) sessions.add(session);
  }

  /** Adds to the sealed bytes of a conversation's token; a negative number subtracts. */
  addBytes(session: Session, bytes: number): void {
    const holding = this.#holdings.get(nameOf(session));
    if (holding !== undefined) holding.bytes += bytes;
  }

  /** Returns the least recently used idle conversation of a token. */
  oldestIdle(holder: TokenOwner, kind?: SessionKind): Session | undefined {
    return oldestIdle(this.#holdings.get(nameOf(holder)), kind);
  }

  /**
   * Returns the conversation to evict for a request. The first choice is a conversation of the token that exceeds its
   * share the most; the second, one of the requesting token; the last, one of the operator's token, if that leaves it
   * its share.
   * @param all - the total for all tokens together
   * @param more - the amount requested
   */
  evictionCandidate(asker: TokenOwner, measure: Measure, all: number, more: number): Session | undefined {
    const share = all / this.ownersWith(asker);
    const asking = nameOf(asker);
    const wanted = (holding: Usage) => amount(holding, measure) + (holding.name === asking ? more : 0);
    const beyond = this.#holdings
      .values()
      .filter((holding) => !holding.operator && wanted(holding) > share)
      .toArray();
    for (const holding of beyond.sort((a, b) => wanted(b) - wanted(a))) {
      const session = oldestIdle(holding);
      if (session !== undefined) return session;
    }
    const own = this.oldestIdle(asker);
    if (own !== undefined) return own;
    for (const holding of this.#holdings.values()) {
      const session = holding.operator ? oldestIdle(holding) : undefined;
      if (
        session !== undefined &&
        amount(holding, measure) - (measure === 'bytes' ? sealedBytesOf(session) : 1) >= share
      )
        return session;
    }
    return undefined;
  }
}
