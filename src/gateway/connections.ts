/**
 * Open connections by holder. A connection is anonymous at first, then belongs to the holder of the last token used on
 * it.
 *
 * When there is no room for another connection, the holder with the most connections loses the one that has been idle
 * longest. So idle connections, whether from one client or from many anonymous ones, cannot lock anyone out.
 *
 * Promise: a connection with an authenticated request in progress is never evicted.
 * Proof:   test/unit/gateway/connections.test.ts, test/attacks/1-shares.test.ts
 * @module
 */

/** The part of the socket interface that is used here. */
type Connection = { destroy(): unknown; once(event: 'close', listener: () => void): unknown };

/** The holder of a connection before its first token. */
const anonymous = '';

type Entry = { holder: string; busy: boolean; /** Sequence number of its last use. */ lastUse: number };

export class Connections<T extends Connection> {
  readonly #limit: number;
  readonly #entries = new Map<T, Entry>();
  readonly #counts = new Map<string, number>();
  #uses = 0;

  /** @param limit - maximum number of open connections */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Adds a connection, evicting another if necessary. @returns false if there is no room; the caller then closes it */
  add(connection: T): boolean {
    if (this.#entries.size >= this.#limit) {
      const evicted = this.#nextEviction();
      if (evicted === undefined) return false;
      this.#remove(evicted);
      evicted.destroy();
    }
    this.#uses += 1;
    this.#entries.set(connection, { holder: anonymous, busy: false, lastUse: this.#uses });
    this.#count(anonymous, 1);
    connection.once('close', () => {
      this.#remove(connection);
    });
    return true;
  }

  /** Marks the start of a request. From then on, the connection counts as belonging to `holder`. */
  markBusy(connection: T, holder: string): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    this.#count(entry.holder, -1);
    this.#count(holder, 1);
    entry.holder = holder;
    entry.busy = true;
  }

  /** Marks the connection as idle after its request has been answered. */
  markIdle(connection: T): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    this.#uses += 1;
    entry.lastUse = this.#uses;
    entry.busy = false;
  }

  /** Closes all of a holder's connections except those in `notified`, which close after their last response. */
  closeAll(holder: string, notified: ReadonlySet<T>): void {
    for (const [connection, entry] of this.#entries)
      if (entry.holder === holder && !notified.has(connection)) connection.destroy();
  }

  /**
   * Returns the connection to evict, if any. Among the holders that have an idle connection, the one with the most
   * connections loses the connection that has been idle longest.
   */
  #nextEviction(): T | undefined {
    const longestIdle = new Map<string, { connection: T; lastUse: number }>();
    for (const [connection, { holder, busy, lastUse }] of this.#entries) {
      const found = longestIdle.get(holder);
      if (!busy && (found === undefined || lastUse < found.lastUse)) longestIdle.set(holder, { connection, lastUse });
    }
    let evicted: T | undefined;
    let most = 0;
    for (const [holder, { connection }] of longestIdle) {
      const count = this.#counts.get(holder) ?? 0;
      if (count <= most) continue;
      most = count;
      evicted = connection;
    }
    return evicted;
  }

  #count(holder: string, change: 1 | -1): void {
    const now = (this.#counts.get(holder) ?? 0) + change;
    if (now === 0) this.#counts.delete(holder);
    else this.#counts.set(holder, now);
  }

  #remove(connection: T): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    this.#entries.delete(connection);
    this.#count(entry.holder, -1);
  }
}
