/**
 * Limits open requests and their declared bytes, with a fair share for each token and extra room for the operator.
 *
 * A token may use the whole quota while no other token needs it. When another token needs room, the token furthest
 * above its fair share loses requests: first those whose bodies are still arriving, then those whose responses have not
 * begun.
 *
 * Promise: no token can lock another one out, and the operator is served whatever the named tokens do.
 * Limits:  a request whose response has begun is never evicted.
 * Proof:   test/unit/gateway/request-quota.test.ts, test/attacks/1-shares.test.ts
 * @module
 */

/** The holder of a request's token. */
export type TokenHolder = { readonly principal: string; readonly isOperator: boolean };

/** `requests` and `bodyBytes` are shared by all tokens. Only the operator may use the rest. */
type QuotaLimits = {
  readonly requests: number;
  readonly bodyBytes: number;
  readonly operatorRequests: number;
  readonly operatorBytes: number;
};

/** One open request. */
export type QuotaEntry = {
  readonly holder: TokenHolder;
  /** Declared length of its body in bytes. */
  readonly bytes: number;
  /** Returns 0 if its body is still arriving, 1 if its response has not begun, `undefined` if it cannot be evicted. */
  readonly evictionRank: () => 0 | 1 | undefined;
};

type Usage = { requests: number; bytes: number };

export class RequestQuota<T extends QuotaEntry> {
  readonly #limits: QuotaLimits;
  /** Open requests, oldest first. */
  readonly #entries = new Set<T>();
  readonly #usage = new Map<string, Usage>();
  #requests = 0;
  #bytes = 0;

  constructor(limits: QuotaLimits) {
    this.#limits = limits;
  }

  /** Counts a request. */
  add(entry: T): void {
    const usage = this.#usage.get(entry.holder.principal) ?? { requests: 0, bytes: 0 };
    this.#usage.set(entry.holder.principal, usage);
    this.#count(usage, entry, 1);
    this.#entries.add(entry);
  }

  /** Removes a request; safe to call twice. */
  remove(entry: T): void {
    const usage = this.#usage.get(entry.holder.principal);
    if (usage === undefined || !this.#entries.delete(entry)) return;
    this.#count(usage, entry, -1);
    if (usage.requests === 0) this.#usage.delete(entry.holder.principal);
  }

  /**
   * Returns the requests to evict, in order, so that another request from `holder` fits; `undefined` if it cannot fit.
   * @param bytes - declared body length of the new request
   */
  evictionsFor(holder: TokenHolder, bytes: number): readonly T[] | undefined {
    const limit = this.#limitFor(holder);
    const left = { requests: limit.requests - this.#requests - 1, bytes: limit.bytes - this.#bytes - bytes };
    const fits = (): boolean => left.requests >= 0 && left.bytes >= 0;
    if (fits()) return [];
    const own = this.#usage.get(holder.principal) ?? { requests: 0, bytes: 0 };
    const holders = this.#usage.size + (own.requests === 0 ? 1 : 0);
    const fairShare = {
      requests: Math.max(1, Math.floor(this.#limits.requests / holders)),
      bytes: Math.floor(this.#limits.bodyBytes / holders),
    };
    // A holder without open requests may have one, even if its body exceeds the fair share.
    if (own.requests > 0 && (own.requests + 1 > fairShare.requests || own.bytes + bytes > fairShare.bytes))
      return undefined;
    const evicted: T[] = [];
    const usage = new Map([...this.#usage].map(([principal, used]) => [principal, { ...used }]));
    while (!fits()) {
      const next = this.#nextEviction(holder, fairShare, usage, new Set(evicted), left.requests < 0);
      if (next === undefined) return undefined;
      evicted.push(next);
      const used = usage.get(next.holder.principal);
      if (used !== undefined) this.#addTo(used, next, -1);
      left.requests += 1;
      left.bytes += next.bytes;
    }
    return evicted;
  }

  #limitFor({ isOperator }: TokenHolder): Usage {
    const { requests, bodyBytes, operatorRequests, operatorBytes } = this.#limits;
    return {
      requests: requests + (isOperator ? operatorRequests : 0),
      bytes: bodyBytes + (isOperator ? operatorBytes : 0),
    };
  }

  /** Returns the next request to evict: one from the holder furthest above the fair share, never the operator's. */
  #nextEviction(
    requester: TokenHolder,
    fairShare: Usage,
    usage: ReadonlyMap<string, Usage>,
    evicted: ReadonlySet<T>,
    forRequests: boolean,
  ): T | undefined {
    const excess = ({ requests, bytes }: Usage): number =>
      forRequests ? requests / fairShare.requests : Math.max(bytes / fairShare.bytes, requests / fairShare.requests);
    const candidates = [...usage]
      .filter(([principal, used]) => principal !== requester.principal && excess(used) > 1)
      .sort(([, a], [, b]) => excess(b) - excess(a));
    for (const [principal] of candidates) {
      const evictable = [...this.#entries].filter(
        (entry) =>
          entry.holder.principal === principal &&
          !evicted.has(entry) &&
          !entry.holder.isOperator &&
          (forRequests || entry.bytes > 0),
      );
      const found =
        evictable.find((entry) => entry.evictionRank() === 0) ??
        evictable.findLast((entry) => entry.evictionRank() === 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #count(usage: Usage, entry: T, sign: 1 | -1): void {
    this.#addTo(usage, entry, sign);
    this.#requests += sign;
    this.#bytes += sign * entry.bytes;
  }

  #addTo(usage: Usage, { bytes }: T, sign: 1 | -1): void {
    usage.requests += sign;
    usage.bytes += sign * bytes;
  }
}

/** Number of slots for each named token, for all named tokens together, and for the operator. @internal */
export const reservedSlotLimits = { each: 4, named: 32, operator: 16 } as const;

/**
 * Slots outside the quota, for short requests that need no turn of the model: the status, and listing and wiping
 * sessions. These requests are served even while the quota is exhausted.
 */
export class ReservedSlots {
  readonly #taken = new Map<string, number>();
  #named = 0;

  /** Acquires a slot. @returns a function that releases it, or `undefined` if the holder has no free slot */
  acquire({ principal, isOperator }: TokenHolder): (() => void) | undefined {
    const before = this.#taken.get(principal) ?? 0;
    const { each, named, operator } = reservedSlotLimits;
    if (isOperator ? before >= operator : before >= each || this.#named >= named) return undefined;
    this.#taken.set(principal, before + 1);
    if (!isOperator) this.#named += 1;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      if (!isOperator) this.#named -= 1;
      const now = (this.#taken.get(principal) ?? 1) - 1;
      if (now === 0) this.#taken.delete(principal);
      else this.#taken.set(principal, now);
    };
  }
}
