/**
 * Open connections, by who holds them: nobody yet, or the token of their last request.
 *
 * When there is no room for one more, whoever holds most loses the one that it has left unused for longest. So kept
 * connections of one client, or of many strangers, keep nobody out.
 *
 * Promise: a connection on which a token's request is being answered is never taken away for another.
 * Proof:   test/unit/gateway/connections.test.ts, test/attacks/1-shares.test.ts
 * @module
 */

/** What is needed of a socket. */
export type Connection = { destroy(): unknown; once(event: 'close', listener: () => void): unknown };

/** The holder of a connection that has not shown a token. */
const nobody = '';

type Entry = { holder: string; busy: boolean; /** Order of its last use. */ used: number };

export class Connections<T extends Connection> {
  readonly #most: number;
  readonly #entries = new Map<T, Entry>();
  readonly #counts = new Map<string, number>();
  #uses = 0;

  /** @param most - how many may be open at a time */
  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Takes a new connection in, and closes another one if need be; `false`: there is no room, the caller closes it. */
  enter(connection: T): boolean {
    if (this.#entries.size >= this.#most) {
      const loser = this.#leastUsed();
      if (loser === undefined) return false;
      this.#forget(loser);
      loser.destroy();
    }
    this.#uses += 1;
    this.#entries.set(connection, { holder: nobody, busy: false, used: this.#uses });
    this.#count(nobody, 1);
    connection.once('close', () => {
      this.#forget(connection);
    });
    return true;
  }

  /** A token's request begins on it: it counts as that holder's from now on. */
  hold(connection: T, holder: string): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    this.#count(entry.holder, -1);
    this.#count(holder, 1);
    entry.holder = holder;
    entry.busy = true;
  }

  /** Its request has been answered. */
  rest(connection: T): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    this.#uses += 1;
    entry.used = this.#uses;
    entry.busy = false;
  }

  /** Closes every connection of a holder but those in `told`, which end by their last answer. */
  close(holder: string, told: ReadonlySet<T>): void {
    for (const [connection, entry] of this.#entries)
      if (entry.holder === holder && !told.has(connection)) connection.destroy();
  }

  /** Of whoever holds most and has one to lose: the one that was unused for longest. */
  #leastUsed(): T | undefined {
    const best = new Map<string, { connection: T; used: number }>();
    for (const [connection, { holder, busy, used }] of this.#entries) {
      const found = best.get(holder);
      if (!busy && (found === undefined || used < found.used)) best.set(holder, { connection, used });
    }
    let loser: T | undefined;
    let most = 0;
    for (const [holder, { connection }] of best) {
      const count = this.#counts.get(holder) ?? 0;
      if (count <= most) continue;
      most = count;
      loser = connection;
    }
    return loser;
  }

  #count(holder: string, change: 1 | -1): void {
    const now = (this.#counts.get(holder) ?? 0) + change;
    if (now === 0) this.#counts.delete(holder);
    else this.#counts.set(holder, now);
  }

  #forget(connection: T): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    this.#entries.delete(connection);
    this.#count(entry.holder, -1);
  }
}
