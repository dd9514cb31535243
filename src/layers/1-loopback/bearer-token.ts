/**
 * Authentication: reads the API token from a request and compares its digest in constant time.
 *
 * Promise: one code path for both headers; a token in a query, cookie or body is never read. Timing reveals neither how
 *          much of a guess was right nor which token it resembles.
 * Source:  RFC 6750 section 2.1
 * Proof:   test/unit/layers/1-bearer-token.test.ts, test/attacks/1-tokens.test.ts
 * @module
 */
import { headerValues } from './request-guard.ts';

const { createHash, createHmac, randomBytes, timingSafeEqual } = process.getBuiltinModule('node:crypto');

/** The credentials of a request. */
type Credential =
  { readonly kind: 'absent' } | { readonly kind: 'malformed' } | { readonly kind: 'token'; readonly token: string };

const shape = /^[A-Za-z0-9._~+/=-]{1,256}$/;

/**
 * Reads the token from `Authorization: Bearer` or `x-api-key`. Sending both headers, or either one twice, counts as
 * malformed.
 */
export function credentialOf(rawHeaders: readonly string[]): Credential {
  const carried = [
    ...headerValues(rawHeaders, 'authorization').map((value) => /^bearer +(.*)$/i.exec(value)?.[1] ?? ''),
    ...headerValues(rawHeaders, 'x-api-key'),
  ];
  const [token] = carried;
  if (token === undefined) return { kind: 'absent' };
  return carried.length === 1 && shape.test(token) ? { kind: 'token', token } : { kind: 'malformed' };
}

/** Header names: the request carries the client's challenge, and the response carries the server's proof. */
export const proofHeaders = { challenge: 'kwyre-challenge', proof: 'kwyre-proof' } as const;

/**
 * Returns the challenge that a client sends before its token: the opaque id of the token's holder and a fresh nonce.
 */
export function challengeFor(principal: string, nonce: string): string {
  return `${principal}-${nonce}`;
}

/**
 * Returns the proof for a challenge. Computing it requires the token or its digest. The proof covers the port, so a
 * proof made for another port does not verify.
 * @param digest - SHA-256 of the token
 * @param nonce - 64 hexadecimal digits from the client
 * @returns HMAC-SHA256 in hex
 */
export function proofOf(digest: Buffer, port: number, nonce: string): string {
  return createHmac('sha256', digest).update(`kwyre proof 1\0${port}\0${nonce}`).digest('hex');
}

/** A token's digest and the opaque id of its holder, in hex, as sent by the supervisor. */
type DigestEntry = { readonly digest: string; readonly principal: string; readonly operator?: boolean | undefined };

/** The accepted tokens, by digest. */
export class TokenTable {
  #entries: readonly { readonly digest: Buffer; readonly principal: Buffer; readonly operator: boolean }[] = [];

  /** The digest used for unknown holders, so that a proof does not reveal which holders exist. */
  readonly #unknownHolder = randomBytes(32);

  constructor(entries: readonly DigestEntry[]) {
    this.replace(entries);
    // The first hash and HMAC load parts of OpenSSL from disk, which the final filter blocks.
    this.match('');
    proofOf(this.#unknownHolder, 0, '');
  }

  /**
   * Replaces the tokens; the old ones stop working at once.
   * @returns ids (hex) of the holders that no longer have a token
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

  /** Returns the holder's id, or `undefined`. Compares every entry, even after a match. */
  match(token: string): Buffer | undefined {
    const digest = createHash('sha256').update(token, 'utf8').digest();
    let found: Buffer | undefined;
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry.principal;
    return found;
  }

  /** Returns the proof for a client's challenge; `undefined` if there is none or it is malformed. */
  prove(rawHeaders: readonly string[], port: number): string | undefined {
    const [challenge = '', ...more] = headerValues(rawHeaders, proofHeaders.challenge);
    const [, principal, nonce] = /^([0-9a-f]{32})-([0-9a-f]{64})$/.exec(challenge) ?? [];
    if (principal === undefined || nonce === undefined || more.length > 0) return undefined;
    return proofOf(
      this.#entries.find((entry) => entry.principal.toString('hex') === principal)?.digest ?? this.#unknownHolder,
      port,
      nonce,
    );
  }

  /** Returns whether a holder is the server's operator. */
  isOperator(principal: Buffer): boolean {
    return this.#entries.some((entry) => entry.operator && entry.principal.equals(principal));
  }
}
