/**
 * What happens to each request: guard, token, route, answer. Nothing is looked up before the guard and the token.
 *
 * Promise: default deny. A path that does not exist is a 401 without a token, like one that does.
 * Proof:   test/attacks/1-paths.test.ts, test/attacks/1-tokens.test.ts
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { exhaustive, KwyreError } from '../base/errors.ts';
import { FailedLogins } from '../layers/1-loopback/failed-logins.ts';
import { bodyLengthOf, headerValues, refusalOf } from '../layers/1-loopback/request-guard.ts';
import type { Received } from '../layers/1-loopback/request-guard.ts';
import { TokenTable, credentialOf, proofHeaders } from '../layers/1-loopback/bearer-token.ts';
import type { TokenDigest } from '../wire/control-payloads.ts';
import type { Fault } from './local-response.ts';
import { sendFault, sendWhole } from './local-response.ts';
import type { Page } from './status-page.ts';
import { pagePolicy } from './status-page.ts';
import type { Connections } from './connections.ts';
import type { Relay } from './relay.ts';
import { faults } from './relay.ts';
import type { Match, Route } from './routes.ts';
import { matchRoute, placeholder, routes } from './routes.ts';
import { Places } from './request-quota.ts';

/** `open`: new conversations are taken. `ready`: token and engine are there, so that the next one is answered. */
export type Intake = { readonly open: boolean; readonly ready: boolean };

export type DeskPlan = {
  readonly port: number;
  readonly tokens: readonly TokenDigest[];
  readonly bodyBytes: number;
  /** Whether new conversations are taken, and whether the engine is there to answer. */
  readonly intake: Intake;
  readonly page: Page;
  readonly relay: Relay;
  readonly connections: Connections<Socket>;
  /** Asks the supervisor for the JSON of the status and answers with it. */
  readonly status: (request: IncomingMessage, response: ServerResponse) => void;
  /** Wrong tokens since the last report; a count, never a token. */
  readonly onFailures: (count: number) => void;
  readonly now: () => number;
};

/** What a request comes to: a fault, a token that nobody has, or a route for its holder. */
type Admission =
  | { readonly kind: 'refused'; readonly fault: Fault; readonly closes: boolean }
  | { readonly kind: 'stranger' }
  | { readonly kind: 'admitted'; readonly match: Match; readonly principal: Buffer };

const unauthorized: Fault = {
  status: 401,
  code: 'invalid_api_key',
  message: 'This needs the API token of this server. ./kwyre token prints it.',
};
const ambiguous: Fault = {
  status: 401,
  code: 'invalid_api_key',
  message: 'Send one token, as Authorization: Bearer or as x-api-key.',
};
const tooManyGuesses: Fault = {
  status: 429,
  code: 'too_many_attempts',
  message: 'Too many wrong tokens. The right one still works.',
};
const closed: Fault = {
  status: 503,
  code: 'intake_closed',
  message:
    'No new conversation is taken: a tool that could look into this server runs beside it, it stood still a moment ago, or it is still starting. ./kwyre status names what was seen.',
  retryAfterSeconds: 5,
};
const starting: Fault = {
  status: 503,
  code: 'server_starting',
  message: 'The server is starting: the next request would wait.',
  retryAfterSeconds: 1,
};
const notFound: Fault = { status: 404, code: 'not_found', message: 'There is nothing here.' };
const wrongMethod: Fault = { status: 405, code: 'method_not_allowed', message: 'This path takes another method.' };
const sessionsRepeated: Fault = {
  status: 400,
  code: 'header_repeated',
  message: 'A header that must be single came more than once.',
};
const sessionUnknown: Fault = { status: 404, code: 'session_not_found', message: 'there is no such conversation' };
const health = Buffer.from('{"status":"ok"}');
const reportEveryMs = 10_000;

/** The conversation that `Kwyre-Session: new | conv_…` names, empty for none. */
function sessionOf(rawHeaders: readonly string[]): string | Fault {
  const values = headerValues(rawHeaders, 'kwyre-session');
  const [value] = values;
  if (value === undefined) return '';
  if (values.length > 1) return sessionsRepeated;
  if (value === 'new') return value;
  // What is no id of ours is answered like an id that nobody has.
  return /^conv_([0-9a-f]{32})$/.exec(value)?.[1] ?? sessionUnknown;
}

export class Desk {
  readonly #plan: DeskPlan;
  readonly #ring: TokenTable;
  readonly #attempts: FailedLogins;
  readonly #places = new Places();
  #intake: Intake;
  #reported = 0;
  #reportedAt = Number.NEGATIVE_INFINITY;

  constructor(plan: DeskPlan) {
    this.#plan = plan;
    this.#intake = plan.intake;
    this.#ring = new TokenTable(plan.tokens);
    this.#attempts = new FailedLogins(plan.now());
  }

  /** Another list of tokens; the former ones are void at once, and what is open under them ends. */
  replaceTokens(tokens: readonly TokenDigest[]): void {
    for (const principal of this.#ring.replace(tokens)) {
      const told = this.#plan.relay.revoke(principal);
      this.#plan.connections.close(principal, told);
    }
  }

  /** Takes new conversations from now on, or refuses them. */
  setIntake(intake: Intake): void {
    this.#intake = intake;
  }

  /** Takes no new conversations until the supervisor says so. */
  closeIntake(): void {
    this.#intake = { ...this.#intake, open: false };
  }

  /** Answers one request, or passes it on. */
  ask(request: IncomingMessage, response: ServerResponse, unix: boolean): void {
    const admission = this.#admit({
      method: request.method ?? '',
      target: request.url ?? '',
      rawHeaders: request.rawHeaders,
      unix,
    });
    switch (admission.kind) {
      case 'refused':
        sendFault(request, response, admission.fault, admission.closes);
        return;
      case 'stranger': {
        const wait = this.#attempts.fail(this.#plan.now());
        this.#report();
        sendFault(request, response, wait === 0 ? unauthorized : { ...tooManyGuesses, retryAfterSeconds: wait }, true);
        return;
      }
      case 'admitted': {
        const { match, principal } = admission;
        if (principal.length > 0) {
          this.#plan.connections.hold(request.socket, principal.toString('hex'));
          response.once('close', () => {
            this.#plan.connections.rest(request.socket);
          });
        }
        this.#enter(request, response, match, principal);
        return;
      }
      default:
        exhaustive(admission);
    }
  }

  /**
   * Tries every route without a token and with one that nobody has; gives how many are closed then.
   * @throws `L1_TOKEN_UNCHECKED` when one that is not public is open
   */
  tryClosed(nobodys: string): number {
    const host = ['Host', `127.0.0.1:${this.#plan.port}`];
    const closedRoutes = routes.filter((route) => !route.public);
    for (const { method, path } of closedRoutes) {
      for (const carried of [[], ['Authorization', `Bearer ${nobodys}`], ['X-Api-Key', nobodys]]) {
        const { kind } = this.#admit({
          method,
          target: path.replace(placeholder, 'x'),
          rawHeaders: [...host, ...carried],
          unix: false,
        });
        if (kind === 'admitted')
          throw new KwyreError(
            'L1_TOKEN_UNCHECKED',
            `${method} ${path} is answered without a token`,
            'install again: npm ci --omit=dev --ignore-scripts --no-bin-links',
          );
      }
    }
    return closedRoutes.length;
  }

  /** What a request comes to before it is answered. */
  #admit(received: Received): Admission {
    const refusal = refusalOf(received, this.#plan.port);
    if (refusal !== undefined) return { kind: 'refused', fault: refusal, closes: true };
    const match = matchRoute(received.method, received.target);
    if (match.kind === 'route' && match.route.public) return { kind: 'admitted', match, principal: Buffer.alloc(0) };
    const credential = credentialOf(received.rawHeaders);
    if (credential.kind !== 'token')
      return { kind: 'refused', fault: credential.kind === 'absent' ? unauthorized : ambiguous, closes: false };
    const principal = this.#ring.match(credential.token);
    return principal === undefined ? { kind: 'stranger' } : { kind: 'admitted', match, principal };
  }

  #enter(request: IncomingMessage, response: ServerResponse, match: Match, principal: Buffer): void {
    switch (match.kind) {
      case 'none':
        sendFault(request, response, notFound, false);
        return;
      case 'method':
        sendFault(request, response, wrongMethod, false);
        return;
      case 'route':
        this.#answer(request, response, match.route, match.parameter, principal);
        return;
      default:
        exhaustive(match);
    }
  }

  #answer(
    request: IncomingMessage,
    response: ServerResponse,
    route: Route,
    parameter: string,
    principal: Buffer,
  ): void {
    const { target } = route;
    const operator = this.#ring.isOperator(principal);
    if (route.kept === true) {
      const leave = this.#places.take({ principal: principal.toString('hex'), person: operator });
      if (leave === undefined) {
        sendFault(request, response, faults.busy, false);
        return;
      }
      response.once('close', leave);
    }
    switch (target.kind) {
      case 'health': {
        const { open, ready } = this.#intake;
        const proof = this.#ring.prove(request.rawHeaders, this.#plan.port);
        if (proof !== undefined) response.setHeader(proofHeaders.proof, proof);
        if (open && ready) sendWhole(response, 200, 'application/json', health);
        else sendFault(request, response, ready ? closed : starting, false);
        return;
      }
      case 'page': {
        const file = this.#plan.page.get(target.file);
        if (file === undefined) sendFault(request, response, notFound, false);
        else sendWhole(response, 200, file.type, file.body, { 'Content-Security-Policy': pagePolicy });
        return;
      }
      case 'status':
        this.#plan.status(request, response);
        return;
      case 'engine': {
        if (route.method === 'POST' && !this.#intake.open) {
          sendFault(request, response, closed, false);
          return;
        }
        const bodyLength = route.method === 'POST' ? bodyLengthOf(request.rawHeaders, this.#plan.bodyBytes) : 0;
        if (typeof bodyLength !== 'number') {
          sendFault(request, response, bodyLength, false);
          return;
        }
        const session = sessionOf(request.rawHeaders);
        if (typeof session !== 'string') {
          sendFault(request, response, session, false);
          return;
        }
        if (request.headers.expect !== undefined) {
          if (request.headers.expect.toLowerCase() !== '100-continue') {
            sendFault(
              request,
              response,
              { status: 417, code: 'expectation_failed', message: 'Only 100-continue can be expected.' },
              true,
            );
            return;
          }
          response.writeContinue();
        }
        this.#plan.relay.forward(
          request,
          response,
          { route: target.route, principal, bodyLength, parameter, session, operator },
          route.kept === true,
        );
        return;
      }
      default:
        exhaustive(target);
    }
  }

  #report(): void {
    const now = this.#plan.now();
    if (now - this.#reportedAt < reportEveryMs) return;
    this.#plan.onFailures(this.#attempts.failures - this.#reported);
    this.#reported = this.#attempts.failures;
    this.#reportedAt = now;
  }
}
