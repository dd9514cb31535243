/**
 * Who asks: the API token out of its one or two carriers, compared by digest in constant time.
 *
 * Promise: one code path for every carrier; a query, a cookie or a body is never one. The time of a comparison tells
 *          neither how far a guess was right nor which token it was near.
 * Source:  RFC 6750 section 2.1
 * Proof:   test/unit/layers/1-bearer-token.test.ts, test/attacks/1-tokens.test.ts
 * @module
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { headerValues } from './request-guard.ts';

/** What the credentials of a request come to. */
export type Credential =
  { readonly kind: 'absent' } | { readonly kind: 'malformed' } | { readonly kind: 'token'; readonly token: string };

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

/** Headers of a proof: the client asks in one, the server answers in the other. */
export const proofHeaders = { challenge: 'kwyre-challenge', proof: 'kwyre-proof' } as const;

/** What a client asks before it sends its token: the opaque id of the token's holder, and a fresh number. */
export function challengeFor(principal: string, nonce: string): string {
  return `${principal}-${nonce}`;
}

/**
 * The answer to a challenge, which only somebody with the token or its digest can give; the port is in it, so that an
 * answer from another port is worth nothing.
 * @param digest - SHA-256 of the token
 * @param nonce - 64 hexadecimal digits of the client's
 */
export function proofOf(digest: Buffer, port: number, nonce: string): string {
  return createHmac('sha256', digest).update(`kwyre proof 1\0${port}\0${nonce}`).digest('hex');
}

/** A token's digest and the opaque id of its holder, in hex, as the supervisor hands them over. */
export type DigestEntry = {
  readonly digest: string;
  readonly principal: string;
  readonly operator?: boolean | undefined;
};

/** The tokens that open the server, as digests. */
export class TokenTable {
  #entries: readonly { readonly digest: Buffer; readonly principal: Buffer; readonly operator: boolean }[] = [];

  /** Stands for whoever has no token here, so that an answer does not tell. */
  readonly #nobody = randomBytes(32);

  constructor(entries: readonly DigestEntry[]) {
    this.replace(entries);
    // The first use of the hash loads what it needs from disk; after the seal there is no disk.
    this.match('');
    proofOf(this.#nobody, 0, '');
  }

  /**
   * Takes another list of tokens; the former ones are void at once. Returns the ids (hex) of holders who have none any
   * more.
   */
  replace(entries: readonly DigestEntry[]): string[] {
    const before = this.#entries.map(({ principal }) => principal.toString('hex'));
    this.#entries = entries
      .map((entry) => ({
        digest: Buffer.from(entry.digest, 'hex'),
        principal: Buffer.from(entry.principal, 'hex'),
        operator: entry.operator === true,
      }))
      .filter((entry) => entry.digest.length === 32 && entry.principal.length === 16);
    return before.filter((principal) => !this.#entries.some((entry) => entry.principal.toString('hex') === principal));
  }

  /** The holder's id, or `undefined`; every entry is compared, whichever fits. */
  match(token: string): Buffer | undefined {
    const digest = createHash('sha256').update(token, 'utf8').digest();
    let found: Buffer | undefined;
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry.principal;
    return found;
  }

  /**
   * Proves to a client that the token it means is known here; `undefined` where it asked for nothing, or not in form.
   */
  prove(rawHeaders: readonly string[], port: number): string | undefined {
    const [challenge = '', ...more] = headerValues(rawHeaders, proofHeaders.challenge);
    const [, principal, nonce] = /^([0-9a-f]{32})-([0-9a-f]{64})$/.exec(challenge) ?? [];
    if (principal === undefined || nonce === undefined || more.length > 0) return undefined;
    return proofOf(
      this.#entries.find((entry) => entry.principal.toString('hex') === principal)?.digest ?? this.#nobody,
      port,
      nonce,
    );
  }

  /** Whether a holder is the person who runs the server. */
  isOperator(principal: Buffer): boolean {
    return this.#entries.some((entry) => entry.operator && entry.principal.equals(principal));
  }
}
