/**
 * Decides whether to admit a request. The request guard, the route and the token are checked in that order, before any
 * other code sees the request.
 *
 * Promise: default deny. Without a token, a request gets a 401 whether or not its path exists.
 * Proof:   test/attacks/1-paths.test.ts, test/attacks/1-tokens.test.ts
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import { credentialOf, TokenTable } from '../layers/1-loopback/bearer-token.ts';
import { FailedLogins } from '../layers/1-loopback/failed-logins.ts';
import type { Received } from '../layers/1-loopback/request-guard.ts';
import { refusalOf } from '../layers/1-loopback/request-guard.ts';
import type { TokenDigest } from '../wire/control-payloads.ts';
import type { Fault } from './faults.ts';
import { faults } from './faults.ts';
import type { Match } from './routes.ts';
import { matchRoute, placeholder, routes } from './routes.ts';

/** The sender of an admitted request: a token's holder, or an empty principal for a public route. */
export type Sender = { readonly principal: Buffer; readonly isOperator: boolean };

type Decision =
  /** `closes`: whether the connection must be closed as well. */
  | { readonly kind: 'refused'; readonly fault: Fault; readonly closes: boolean }
  | { readonly kind: 'admitted'; readonly match: Match; readonly sender: Sender };

/** A decision, or the fact that the token is unknown. */
type Verdict = Decision | { readonly kind: 'unknown-token' };

type AdmissionOptions = {
  readonly port: number;
  readonly tokens: readonly TokenDigest[];
  /** Receives the number of wrong tokens since the previous report. */
  readonly onFailedLogins: (count: number) => void;
  /** Returns the monotonic time in milliseconds. */
  readonly now: () => number;
};

const reportIntervalMs = 10_000;
const anonymous: Sender = { principal: Buffer.alloc(0), isOperator: false };

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #tokens: TokenTable;
  readonly #failedLogins: FailedLogins;
  #reportedCount = 0;
  #reportedAt = Number.NEGATIVE_INFINITY;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#tokens = new TokenTable(options.tokens);
    this.#failedLogins = new FailedLogins(options.now());
  }

  /** Decides whether to admit a request. A wrong token counts as a failed login. */
  decide(received: Received): Decision {
    const verdict = this.#judge(received);
    if (verdict.kind !== 'unknown-token') return verdict;
    const waitSeconds = this.#failedLogins.fail(this.#options.now());
    this.#reportFailedLogins();
    const fault =
      waitSeconds === 0 ? faults.unauthorized : { ...faults.tooManyAttempts, retryAfterSeconds: waitSeconds };
    return { kind: 'refused', fault, closes: true };
  }

  /** Replaces the list of tokens. @returns the principals that no longer have a token */
  replaceTokens(tokens: readonly TokenDigest[]): string[] {
    return this.#tokens.replace(tokens);
  }

  /** Returns the proof for the challenge in the headers, or `undefined` if they contain no challenge (ADR 0028). */
  proofFor(rawHeaders: readonly string[]): string | undefined {
    return this.#tokens.prove(rawHeaders, this.#options.port);
  }

  /**
   * Checks every protected route twice, once without a token and once with an unknown token.
   * @returns the number of protected routes
   * @throws `L1_TOKEN_UNCHECKED` if a route is admitted
   */
  verifyRoutesClosed(unknownToken: string): number {
    const host = ['Host', `127.0.0.1:${this.#options.port}`];
    const protectedRoutes = routes.filter((route) => !route.public);
    for (const { method, path } of protectedRoutes) {
      for (const credentials of [[], ['Authorization', `Bearer ${unknownToken}`], ['X-Api-Key', unknownToken]]) {
        const { kind } = this.#judge({
          method,
          target: path.replace(placeholder, 'x'),
          rawHeaders: [...host, ...credentials],
          unix: false,
        });
        if (kind === 'admitted')
          throw new KwyreError(
            'L1_TOKEN_UNCHECKED',
            `${method} ${path} is served without a token`,
            'reinstall: npm ci --omit=dev --ignore-scripts --no-bin-links',
          );
      }
    }
    return protectedRoutes.length;
  }

  #judge(received: Received): Verdict {
    const refusal = refusalOf(received, this.#options.port);
    if (refusal !== undefined) return { kind: 'refused', fault: refusal, closes: true };
    const match = matchRoute(received.method, received.target);
    if (match.kind === 'route' && match.route.public) return { kind: 'admitted', match, sender: anonymous };
    const credential = credentialOf(received.rawHeaders);
    if (credential.kind !== 'token') {
      const fault = credential.kind === 'absent' ? faults.unauthorized : faults.ambiguousToken;
      return { kind: 'refused', fault, closes: false };
    }
    const principal = this.#tokens.match(credential.token);
    if (principal === undefined) return { kind: 'unknown-token' };
    return { kind: 'admitted', match, sender: { principal, isOperator: this.#tokens.isOperator(principal) } };
  }

  #reportFailedLogins(): void {
    const now = this.#options.now();
    if (now - this.#reportedAt < reportIntervalMs) return;
    this.#options.onFailedLogins(this.#failedLogins.failures - this.#reportedCount);
    this.#reportedCount = this.#failedLogins.failures;
    this.#reportedAt = now;
  }
}
