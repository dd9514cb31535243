/**
 * The tokens of a running server: the user's own token, which each start generates, and the named tokens, which are
 * reread when their file changes.
 *
 * Promise: a revoked token is refused after half a second. If the file of named tokens is damaged, all named tokens are
 *          refused.
 * Proof:   test/attacks/1-tokens.test.ts
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import type { EventLog } from '../state/event-log.ts';
import type { NamedToken } from '../state/token-store.ts';
import { digestToken, makeToken, namedTokensStamp, principalOf, readNamedTokens } from '../state/token-store.ts';
import type { TokenDigest } from '../wire/control-payloads.ts';

const pollMs = 500;

export class LiveTokens {
  /** The token of the user who runs the server. */
  readonly personal = makeToken();
  readonly #state: string;
  readonly #log: EventLog;
  readonly #timer: NodeJS.Timeout;
  #named: readonly NamedToken[];
  #stamp: string;

  /** @throws `STATE_*` if the file of named tokens cannot be read */
  constructor(state: string, log: EventLog, onChange: () => void) {
    this.#state = state;
    this.#log = log;
    this.#stamp = namedTokensStamp(state);
    this.#named = readNamedTokens(state);
    this.#timer = setInterval(() => {
      if (this.#reread()) onChange();
    }, pollMs);
  }

  /** Digests of the tokens, with their owners. The gateway never receives the tokens themselves. */
  get digests(): TokenDigest[] {
    return [digestToken(this.personal), ...this.#named.map((entry) => entry.digest)].map((digest, index) => ({
      digest,
      principal: principalOf(digest),
      operator: index === 0,
    }));
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #reread(): boolean {
    const now = namedTokensStamp(this.#state);
    if (now === this.#stamp) return false;
    this.#stamp = now;
    try {
      this.#named = readNamedTokens(this.#state);
    } catch (error) {
      // Until the file is repaired, only the user's own token is accepted.
      if (!(error instanceof KwyreError)) throw error;
      this.#named = [];
      this.#log.write({ code: error.code });
    }
    return true;
  }
}
