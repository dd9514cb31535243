/**
 * Handles each HTTP request. An admitted request is answered here or forwarded to the engine.
 *
 * Promise: a request with a body reaches the engine only while the intake is open, and only if its declared length is
 *          within the limit.
 * Proof:   test/unit/gateway/lifecycle.test.ts, test/attacks/1-limits.test.ts
 * @module
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { exhaustive } from '../base/errors.ts';
import { proofHeaders } from '../layers/1-loopback/bearer-token.ts';
import { bodyLengthOf, headerValues } from '../layers/1-loopback/request-guard.ts';
import type { TokenDigest } from '../wire/control-payloads.ts';
import type { EngineRoute } from '../wire/messages.ts';
import type { Admission, Sender } from './admission.ts';
import type { Connections } from './connections.ts';
import type { Fault } from './faults.ts';
import { faults } from './faults.ts';
import { sendFault, sendWhole } from './local-response.ts';
import type { Relay } from './relay.ts';
import { ReservedSlots } from './request-quota.ts';
import type { Route } from './routes.ts';
import type { StatusPage } from './status-page.ts';
import { pagePolicy } from './status-page.ts';
import type { StatusProxy } from './status.ts';

/** `open`: whether new conversations are accepted. `ready`: whether the token is written and the engine is running. */
type Intake = { readonly open: boolean; readonly ready: boolean };

type RequestHandlerOptions = {
  readonly admission: Admission;
  readonly bodyBytes: number;
  readonly intake: Intake;
  readonly page: StatusPage;
  readonly relay: Relay;
  readonly connections: Connections<Socket>;
  readonly status: StatusProxy;
};

/** A request and its response. */
type Http = { readonly request: IncomingMessage; readonly response: ServerResponse };

const healthBody = Buffer.from('{"status":"ok"}');

/** Reads the header `Kwyre-Session: new | conv_…`. @returns the value without `conv_`; empty if there is no header */
function sessionOf(rawHeaders: readonly string[]): string | Fault {
  const values = headerValues(rawHeaders, 'kwyre-session');
  const [value] = values;
  if (value === undefined) return '';
  if (values.length > 1) return faults.sessionRepeated;
  if (value === 'new') return value;
  // A malformed id gets the same response as an unknown one.
  return /^conv_([0-9a-f]{32})$/.exec(value)?.[1] ?? faults.sessionNotFound;
}

export class RequestHandler {
  readonly #options: RequestHandlerOptions;
  readonly #reservedSlots = new ReservedSlots();
  #intake: Intake;

  constructor(options: RequestHandlerOptions) {
    this.#options = options;
    this.#intake = options.intake;
  }

  /** Replaces the tokens, and ends the requests and connections of revoked tokens. */
  replaceTokens(tokens: readonly TokenDigest[]): void {
    for (const principal of this.#options.admission.replaceTokens(tokens)) {
      const notified = this.#options.relay.revoke(principal);
      this.#options.connections.closeAll(principal, notified);
    }
  }

  setIntake(intake: Intake): void {
    this.#intake = intake;
  }

  /** Refuses new conversations until the next {@link setIntake}. */
  closeIntake(): void {
    this.#intake = { ...this.#intake, open: false };
  }

  /** Handles one request. @param unix - whether the request arrived on the Unix socket */
  handle(request: IncomingMessage, response: ServerResponse, unix: boolean): void {
    const decision = this.#options.admission.decide({
      method: request.method ?? '',
      target: request.url ?? '',
      rawHeaders: request.rawHeaders,
      unix,
    });
    if (decision.kind === 'refused') {
      sendFault(request, response, decision.fault, decision.closes);
      return;
    }
    const { match, sender } = decision;
    if (sender.principal.length > 0) {
      this.#options.connections.markBusy(request.socket, sender.principal.toString('hex'));
      response.once('close', () => {
        this.#options.connections.markIdle(request.socket);
      });
    }
    if (match.kind === 'route') this.#route({ request, response }, match.route, match.parameter, sender);
    else sendFault(request, response, match.kind === 'none' ? faults.notFound : faults.wrongMethod, false);
  }

  #route(http: Http, route: Route, parameter: string, sender: Sender): void {
    const { request, response } = http;
    if (route.reserved === true) {
      const release = this.#reservedSlots.acquire({
        principal: sender.principal.toString('hex'),
        isOperator: sender.isOperator,
      });
      if (release === undefined) {
        sendFault(request, response, faults.busy, false);
        return;
      }
      response.once('close', release);
    }
    const { target } = route;
    switch (target.kind) {
      case 'health':
        this.#sendHealth(http);
        return;
      case 'page':
        this.#sendPage(http, target.file);
        return;
      case 'status':
        this.#options.status.request(request, response);
        return;
      case 'engine':
        this.#forward(http, route, target.route, parameter, sender);
        return;
      default:
        exhaustive(target);
    }
  }

  #sendHealth({ request, response }: Http): void {
    const { open, ready } = this.#intake;
    const proof = this.#options.admission.proofFor(request.rawHeaders);
    if (proof !== undefined) response.setHeader(proofHeaders.proof, proof);
    if (open && ready) sendWhole(response, 200, 'application/json', healthBody);
    else sendFault(request, response, ready ? faults.intakeClosed : faults.starting, false);
  }

  #sendPage({ request, response }: Http, name: string): void {
    const file = this.#options.page.get(name);
    if (file === undefined) sendFault(request, response, faults.notFound, false);
    else sendWhole(response, 200, file.type, file.body, { 'Content-Security-Policy': pagePolicy });
  }

  #forward({ request, response }: Http, route: Route, engineRoute: EngineRoute, parameter: string, sender: Sender) {
    if (route.method === 'POST' && !this.#intake.open) {
      sendFault(request, response, faults.intakeClosed, false);
      return;
    }
    const bodyLength = route.method === 'POST' ? bodyLengthOf(request.rawHeaders, this.#options.bodyBytes) : 0;
    if (typeof bodyLength !== 'number') {
      sendFault(request, response, bodyLength, false);
      return;
    }
    const session = sessionOf(request.rawHeaders);
    if (typeof session !== 'string') {
      sendFault(request, response, session, false);
      return;
    }
    const { expect } = request.headers;
    if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
      sendFault(request, response, faults.expectationFailed, true);
      return;
    }
    if (expect !== undefined) response.writeContinue();
    this.#options.relay.forward(
      request,
      response,
      { route: engineRoute, principal: sender.principal, bodyLength, parameter, session, operator: sender.isOperator },
      route.reserved === true,
    );
  }
}
