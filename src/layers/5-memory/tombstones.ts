/**
 * Ids of conversations that were wiped without a request from their client, so that their owner, and only their owner,
 * can learn why.
 *
 * Promise: when there are too many ids, the oldest one of the token with the most ids is evicted, so no token can push
 *          out the ids of a token that has fewer.
 * Proof:   test/unit/layers/5-shares.test.ts, test/unit/layers/5-vault.test.ts
 * @module
 */
import type { EndReason } from './session.ts';

type Tombstone = { readonly why: EndReason; readonly at: number };

export class Tombstones {
  /** Tombstones by token and then by id, the oldest first. */
  readonly #owners = new Map<string, Map<string, Tombstone>>();
  readonly #limit: number;
  readonly #keepMs: number;
  #count = 0;

  /** @param keepMs - how long an id is kept, in milliseconds */
  constructor(limit: number, keepMs: number) {
    this.#limit = limit;
    this.#keepMs = keepMs;
  }

  add(principal: Buffer, id: string, why: EndReason, now: number): void {
    const owner = principal.toString('hex');
    const stones = this.#owners.get(owner) ?? new Map<string, Tombstone>();
    this.#owners.set(owner, stones);
    stones.set(id, { why, at: now });
    this.#count += 1;
    while (this.#count > this.#limit) this.#forgetOldest();
  }

  /** Returns why a conversation of this token was wiped, or `undefined` if it was not, or was wiped too long ago. */
  find(principal: Buffer, id: string, now: number): EndReason | undefined {
    const stone = this.#owners.get(principal.toString('hex'))?.get(id);
    return stone !== undefined && now - stone.at <= this.#keepMs ? stone.why : undefined;
  }

  /** Removes the ids that are too old. */
  reap(now: number): void {
    for (const [owner, stones] of this.#owners) {
      for (const [id, { at }] of stones) {
        if (now - at <= this.#keepMs) break;
        this.#forget(owner, stones, id);
      }
    }
  }

  #forgetOldest(): void {
    let most: readonly [string, Map<string, Tombstone>] | undefined;
    for (const entry of this.#owners) if (most === undefined || entry[1].size > most[1].size) most = entry;
    const [oldest] = most?.[1].keys() ?? [];
    if (most !== undefined && oldest !== undefined) this.#forget(most[0], most[1], oldest);
  }

  #forget(owner: string, stones: Map<string, Tombstone>, id: string): void {
    if (!stones.delete(id)) return;
    this.#count -= 1;
    if (stones.size === 0) this.#owners.delete(owner);
  }
}
