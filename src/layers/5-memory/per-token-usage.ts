/**
 * What each token holds of the vault, by number and by sealed bytes, and whose conversation makes room when something
 * is full.
 *
 * Promise: a share is all there is, divided by the tokens that hold something or ask for it. A token within its share
 *          loses no conversation to another's request; the person's own loses none to another's by which less than its
 *          share would be left to it.
 * Limits:  only idle conversations make room: what a token has under way it keeps until the turn is over.
 * Source:  ADR 0022
 * Proof:   test/unit/layers/5-shares.test.ts, test/attacks/5-shares.test.ts
 * @module
 */
import type { Session, SessionKind } from './session.ts';
import { sealedBytesOf } from './session.ts';

/** A token that may hold conversations, as 16 opaque bytes; `operator`: the one of the person who runs the server. */
export type TokenOwner = { readonly principal: Buffer; readonly operator: boolean };

/** What is counted: conversations, or sealed bytes. */
export type Measure = 'sessions' | 'bytes';

type Usage = {
  readonly name: string;
  readonly operator: boolean;
  /** In the order of their last use, the oldest first. */
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

  /** How many tokens hold something, this one counted in any case. */
  ownersWith(holder: TokenOwner): number {
    return this.#holdings.size + (this.#holdings.has(nameOf(holder)) ? 0 : 1);
  }

  sessionsOf(holder: TokenOwner, kind: SessionKind): number {
    return this.#holdings.get(nameOf(holder))?.kinds[kind] ?? 0;
  }

  bytesOf(holder: TokenOwner): number {
    return this.#holdings.get(nameOf(holder))?.bytes ?? 0;
  }

  /** A conversation begins. */
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

  /** A conversation is over. */
  remove(session: Session): void {
    const holding = this.#holdings.get(nameOf(session));
    if (holding?.sessions.delete(session) !== true) return;
    holding.kinds[session.kind] -= 1;
    if (holding.sessions.size === 0) this.#holdings.delete(holding.name);
  }

  /** A conversation is used: it is the last to make room. */
  touch(session: Session): void {
    const sessions = this.#holdings.get(nameOf(session))?.sessions;
    if (sessions?.delete(session) === true) sessions.add(session);
  }

  /** Counts sealed bytes that came or went. */
  addBytes(session: Session, bytes: number): void {
    const holding = this.#holdings.get(nameOf(session));
    if (holding !== undefined) holding.bytes += bytes;
  }

  /** The idle conversation of a token that was not used for the longest time. */
  oldestIdle(holder: TokenOwner, kind?: SessionKind): Session | undefined {
    return oldestIdle(this.#holdings.get(nameOf(holder)), kind);
  }

  /**
   * The conversation that makes room for a token's request: of the tokens beyond their share the one that holds most,
   * the asking one among them; else the asking one; the person's last, while her share is left to her.
   * @param all - what there is for everybody
   * @param more - what is asked for
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
