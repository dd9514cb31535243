/**
 * Who may have how much open at a time: fair shares of requests and declared bytes for each token, and places that are
 * kept for the person.
 *
 * One token may take everything while nobody else asks. When another one asks and all is taken, whoever holds more than
 * an equal part gives: first a request whose body has not come yet, then one whose answer has not begun.
 *
 * Promise: no token keeps another one out, and whatever the named tokens do, the person's own is served.
 * Limits:  a request whose answer has begun is never taken away.
 * Proof:   test/unit/gateway/request-quota.test.ts, test/attacks/1-shares.test.ts
 * @module
 */

/** Who asks: a token's holder, and whether that is the person who runs the server. */
export type Holder = { readonly principal: string; readonly person: boolean };

/** Places of one kind: `all` together for the named tokens, `person` more for the person alone. */
export type ShareLimits = {
  readonly requests: number;
  readonly bodyBytes: number;
  readonly personRequests: number;
  readonly personBytes: number;
};

/** One open request. */
export type Held = {
  readonly holder: Holder;
  readonly bytes: number;
  /** What it would be to take it away: 0 its body has not come, 1 its answer has not begun, `undefined` it has. */
  readonly yields: () => 0 | 1 | undefined;
};

type Sum = { requests: number; bytes: number };

export class Shares<T extends Held> {
  readonly #limits: ShareLimits;
  /** In the order of their begin. */
  readonly #open = new Set<T>();
  readonly #sums = new Map<string, Sum>();
  #requests = 0;
  #bytes = 0;

  constructor(limits: ShareLimits) {
    this.#limits = limits;
  }

  /** Books a request. */
  enter(held: T): void {
    const sum = this.#sums.get(held.holder.principal) ?? { requests: 0, bytes: 0 };
    this.#sums.set(held.holder.principal, sum);
    this.#add(sum, held, 1);
    this.#open.add(held);
  }

  /** Forgets one; safe to call twice. */
  leave(held: T): void {
    const sum = this.#sums.get(held.holder.principal);
    if (sum === undefined || !this.#open.delete(held)) return;
    this.#add(sum, held, -1);
    if (sum.requests === 0) this.#sums.delete(held.holder.principal);
  }

  /**
   * What has to go so that one more request of this holder with a body of `bytes` fits, in order; empty when it fits as
   * it is, `undefined` when it does not fit.
   */
  room(holder: Holder, bytes: number): readonly T[] | undefined {
    const most = this.#most(holder);
    const left = { requests: most.requests - this.#requests - 1, bytes: most.bytes - this.#bytes - bytes };
    const fits = (): boolean => left.requests >= 0 && left.bytes >= 0;
    if (fits()) return [];
    const own = this.#sums.get(holder.principal) ?? { requests: 0, bytes: 0 };
    const holders = this.#sums.size + (own.requests === 0 ? 1 : 0);
    const fair = {
      requests: Math.max(1, Math.floor(this.#limits.requests / holders)),
      bytes: Math.floor(this.#limits.bodyBytes / holders),
    };
    // Whoever has nothing open may have one request, however large its share of the bytes would have to be.
    if (own.requests > 0 && (own.requests + 1 > fair.requests || own.bytes + bytes > fair.bytes)) return undefined;
    const gone: T[] = [];
    const sums = new Map([...this.#sums].map(([principal, sum]) => [principal, { ...sum }]));
    while (!fits()) {
      const next = this.#yielding(holder, fair, sums, new Set(gone), left.requests < 0);
      if (next === undefined) return undefined;
      gone.push(next);
      const sum = sums.get(next.holder.principal);
      if (sum !== undefined) this.#addTo(sum, next, -1);
      left.requests += 1;
      left.bytes += next.bytes;
    }
    return gone;
  }

  /** Every open request of a holder. */
  of(principal: string): T[] {
    return [...this.#open].filter((held) => held.holder.principal === principal);
  }

  #most({ person }: Holder): Sum {
    const { requests, bodyBytes, personRequests, personBytes } = this.#limits;
    return { requests: requests + (person ? personRequests : 0), bytes: bodyBytes + (person ? personBytes : 0) };
  }

  /** The next request to take away: of whoever holds most beyond an equal part, never of the person. */
  #yielding(
    asker: Holder,
    fair: Sum,
    sums: ReadonlyMap<string, Sum>,
    gone: ReadonlySet<T>,
    forRequests: boolean,
  ): T | undefined {
    const over = ({ requests, bytes }: Sum): number =>
      forRequests ? requests / fair.requests : Math.max(bytes / fair.bytes, requests / fair.requests);
    const order = [...sums]
      .filter(([principal, sum]) => principal !== asker.principal && over(sum) > 1)
      .sort(([, a], [, b]) => over(b) - over(a));
    for (const [principal] of order) {
      const theirs = this.of(principal).filter(
        (held) => !gone.has(held) && !held.holder.person && (forRequests || held.bytes > 0),
      );
      const found = theirs.find((held) => held.yields() === 0) ?? theirs.findLast((held) => held.yields() === 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #add(sum: Sum, held: T, sign: 1 | -1): void {
    this.#addTo(sum, held, sign);
    this.#requests += sign;
    this.#bytes += sign * held.bytes;
  }

  #addTo(sum: Sum, { bytes }: T, sign: 1 | -1): void {
    sum.requests += sign;
    sum.bytes += sign * bytes;
  }
}

/** Short requests that need no turn of the model: some for each token, and more that only the person gets. */
export const placeLimits = { each: 4, named: 32, person: 16 } as const;

/**
 * Places for what must be answered while everything else is taken: the status, and looking at and wiping conversations.
 */
export class Places {
  readonly #taken = new Map<string, number>();
  #named = 0;

  /** Takes a place and returns what gives it back, once; `undefined` when this holder has none left. */
  take({ principal, person }: Holder): (() => void) | undefined {
    const before = this.#taken.get(principal) ?? 0;
    if (person ? before >= placeLimits.person : before >= placeLimits.each || this.#named >= placeLimits.named)
      return undefined;
    this.#taken.set(principal, before + 1);
    if (!person) this.#named += 1;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      if (!person) this.#named -= 1;
      const now = (this.#taken.get(principal) ?? 1) - 1;
      if (now === 0) this.#taken.delete(principal);
      else this.#taken.set(principal, now);
    };
  }
}
