/**
 * What each token holds of the vault: how many conversations of each kind, and how many sealed bytes.
 *
 * Proof: test/unit/layers/5-vault.test.ts
 * @module
 */
import type { Session, SessionKind } from './session.ts';

type Holding = { readonly sessions: Record<SessionKind, number>; bytes: number };

export class Holders {
  readonly #holdings = new Map<string, Holding>();

  /** How many tokens hold something, this one counted in any case. */
  with(principal: Buffer): number {
    return this.#holdings.size + (this.#holdings.has(principal.toString('hex')) ? 0 : 1);
  }

  sessionsOf(principal: Buffer, kind: SessionKind): number {
    return this.#holdings.get(principal.toString('hex'))?.sessions[kind] ?? 0;
  }

  bytesOf(principal: Buffer): number {
    return this.#holdings.get(principal.toString('hex'))?.bytes ?? 0;
  }

  /** Counts a conversation that begins or ends. */
  count({ kind, principal }: Session, change: 1 | -1): void {
    const name = principal.toString('hex');
    const holding = this.#holdings.get(name) ?? { sessions: { kept: 0, continued: 0 }, bytes: 0 };
    holding.sessions[kind] += change;
    if (holding.sessions.kept + holding.sessions.continued === 0) this.#holdings.delete(name);
    else this.#holdings.set(name, holding);
  }

  /** Counts sealed bytes that came or went. */
  weigh({ principal }: Session, bytes: number): void {
    const holding = this.#holdings.get(principal.toString('hex'));
    if (holding !== undefined) holding.bytes += bytes;
  }
}
