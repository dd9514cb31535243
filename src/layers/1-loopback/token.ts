/**
 * Who asks: the API token out of its one or two carriers, compared by digest in constant time.
 *
 * Promise: one code path for every carrier; a query, a cookie or a body is never one. The time of a comparison tells
 *          neither how far a guess was right nor which token it was near.
 * Source:  RFC 6750 section 2.1
 * Proof:   test/unit/layers/token.test.ts, test/attacks/1-tokens.test.ts
 * @module
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { headerValues } from './guard.ts';

/** What the credentials of a request come to. */
export type Credential = { readonly kind: 'absent' } | { readonly kind: 'malformed' } | { readonly kind: 'token'; readonly token: string };

const shape = /^[A-Za-z0-9._~+/=-]{1,256}$/;

/** Reads the token from `Authorization: Bearer` or `x-api-key`; both at once or one twice is malformed. */
export function credentialOf(rawHeaders: readonly string[]): Credential {
  const carried = [
    ...headerValues(rawHeaders, 'authorization').map((value) => /^bearer +(.*)$/i.exec(value)?.[1] ?? ''),
    ...headerValues(rawHeaders, 'x-api-key'),
  ];
  const [token] = carried;
  if (token === undefined) return { kind: 'absent' };
  return carried.length === 1 && shape.test(token) ? { kind: 'token', token } : { kind: 'malformed' };
}

/** A token's digest and the opaque id of its holder, in hex, as the supervisor hands them over. */
export type DigestEntry = { readonly digest: string; readonly principal: string; readonly operator?: boolean | undefined };

/** The tokens that open the server, as digests. */
export class TokenRing {
  #entries: readonly { readonly digest: Buffer; readonly principal: Buffer; readonly operator: boolean }[] = [];

  constructor(entries: readonly DigestEntry[]) {
    this.replace(entries);
    // The first use of the hash loads what it needs from disk; after the seal there is no disk.
    this.match('');
  }

  /** Takes another list of tokens; the former ones are void at once. */
  replace(entries: readonly DigestEntry[]): void {
    this.#entries = entries
      .map((entry) => ({ digest: Buffer.from(entry.digest, 'hex'), principal: Buffer.from(entry.principal, 'hex'), operator: entry.operator === true }))
      .filter((entry) => entry.digest.length === 32 && entry.principal.length === 16);
  }

  /** The holder's id, or `undefined`; every entry is compared, whichever fits. */
  match(token: string): Buffer | undefined {
    const digest = createHash('sha256').update(token, 'utf8').digest();
    let found: Buffer | undefined;
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry.principal;
    return found;
  }

  /** Whether a holder is the person who runs the server. */
  isOperator(principal: Buffer): boolean {
    return this.#entries.some((entry) => entry.operator && entry.principal.equals(principal));
  }
}
