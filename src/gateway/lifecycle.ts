/**
 * The life cycle of a gateway process: wait for the configuration, start to listen and install the final filter in one
 * tick, serve, and drain.
 *
 * Promise: no client byte is read before the final filter is in place. The process ends on a stop order, on a breach by
 *          a peer, or when it loses the supervisor. When it loses the engine, it sends every client an error and then
 *          ends.
 * Proof:   test/unit/gateway/lifecycle.test.ts
 * @module
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { KwyreError } from '../base/errors.ts';
import type { Enforcement } from '../base/verdict.ts';
import { backlog, verifyLoopback } from '../layers/1-loopback/listener.ts';
import { openStream } from '../linux/sockets/inherited-stream.ts';
import { Channel } from '../wire/channel.ts';
import type { DispatchTable } from '../wire/channel.ts';
import { controlSchemas, encodeJson, parseJson } from '../wire/control-payloads.ts';
import type { GatewayConfig } from '../wire/control-payloads.ts';
import type { Frame } from '../wire/frame.ts';
import { Lifeline, lifelineExit } from '../wire/lifeline.ts';
import { controlMessages, descriptors } from '../wire/messages.ts';
import { Admission } from './admission.ts';
import { Connections } from './connections.ts';
import type { Fault } from './faults.ts';
import { faults } from './faults.ts';
import { listenHttp, maxConnections } from './http-server.ts';
import { Relay } from './relay.ts';
import { RequestHandler } from './request-handler.ts';
import { StatusProxy } from './status.ts';
import { loadPage } from './status-page.ts';

/** The functions through which the process acts. `main.ts` supplies the real ones. */
type Powers = {
  readonly pid: number;
  /** Irrevocably installs the final seccomp filter. @returns what is enforced */
  readonly applyFinalFilter: () => readonly Enforcement[];
  readonly exit: (code: number) => void;
  readonly readFile: (path: string) => Buffer;
  /** Returns whether the optional Unix listener was inherited. */
  readonly hasUnixListener: () => boolean;
  /** Returns the limit on open file descriptors. */
  readonly openFiles: () => number;
  readonly now: () => number;
  /** Returns CLOCK_MONOTONIC in milliseconds, which can be compared across processes. */
  readonly monotonic: () => number;
  /** Returns a token that nobody holds. */
  readonly randomToken: () => string;
};

const exitCodes = { stopped: 0, failed: 1, breach: 70 } as const;

/** Time limit for draining. The supervisor waits for one second. */
const drainMs = 700;
const stallCheckMs = 5000;
/** Time allowed for writing the last control messages before the exit. */
const flushMs = 20;

/** Runs the gateway on its inherited descriptors. */
export function serve(powers: Powers): void {
  new Gateway(powers);
}

class Gateway {
  readonly #powers: Powers;
  readonly #supervisor: Channel;
  readonly #relay: Relay;
  readonly #status: StatusProxy;
  readonly #lifeline: Lifeline;
  #servers: Server[] = [];
  /** Set by the configuration. */
  #handler: RequestHandler | undefined;
  #isEnding = false;

  constructor(powers: Powers) {
    this.#powers = powers;
    this.#relay = this.#connectEngine();
    this.#supervisor = this.#connectSupervisor();
    this.#lifeline = this.#watchSupervisor();
    this.#status = new StatusProxy((stream) => {
      this.#supervisor.send(controlMessages.statusRequest, undefined, stream);
    });
  }

  #connectEngine(): Relay {
    const stream = openStream(
      descriptors.data,
      (chunk) => {
        engine.receive(chunk);
      },
      () => {
        void this.#drain(faults.engineLost, true);
      },
      () => {
        relay.onEdgeDrained();
      },
    );
    const relay = new Relay(
      {
        send: (type, payload, id) => {
          engine.send(type, payload, id);
        },
        isFull: () => stream.full(),
      },
      this.#powers.now,
    );
    const engine = new Channel(stream, relay.table, this.#onBreach);
    return relay;
  }

  #connectSupervisor(): Channel {
    const stream = openStream(
      descriptors.control,
      (chunk) => {
        supervisor.receive(chunk);
      },
      () => {
        this.#powers.exit(exitCodes.stopped);
      },
    );
    const supervisor = new Channel(stream, this.#orders(), this.#onBreach);
    return supervisor;
  }

  #watchSupervisor(): Lifeline {
    return new Lifeline({
      now: this.#powers.monotonic,
      afterReading: (then) => setTimeout(setImmediate, 0, then),
      onLate: (ms, cut) => {
        this.#supervisor.send(controlMessages.late, encodeJson({ ms, cut }));
      },
      onPaused: () => {
        this.#cancelTurns();
      },
      onLost: () => {
        this.#powers.exit(lifelineExit);
      },
    });
  }

  readonly #onBreach = (): void => {
    this.#powers.exit(exitCodes.breach);
  };

  /** The messages that the supervisor may send. */
  #orders(): DispatchTable {
    const always = (handle: (frame: Frame) => void) => ({ permit: 'always', handle }) as const;
    const once = (handle: (frame: Frame) => void) => ({ permit: 'once', handle }) as const;
    return {
      [controlMessages.configure]: once((frame) => {
        this.#configure(parseJson(controlSchemas.configureGateway, frame.payload));
      }),
      [controlMessages.tokensSet]: always((frame) => {
        this.#handler?.replaceTokens(parseJson(controlSchemas.tokens, frame.payload).tokens);
      }),
      [controlMessages.intake]: always((frame) => {
        this.#handler?.setIntake(parseJson(controlSchemas.intake, frame.payload));
      }),
      [controlMessages.statusAnswer]: always((frame) => {
        this.#status.receive(frame);
      }),
      [controlMessages.ping]: always((frame) => {
        this.#lifeline.onPing(parseJson(controlSchemas.ping, frame.payload).at);
        this.#supervisor.send(controlMessages.pong, undefined, frame.stream);
      }),
      [controlMessages.pause]: always(() => {
        this.#cancelTurns();
      }),
      [controlMessages.stop]: once(() => {
        void this.#drain(faults.stopping, false);
      }),
    };
  }

  /** Starts serving; reports a failure to the supervisor and exits. */
  #configure(config: GatewayConfig): void {
    try {
      this.#start(config);
    } catch (error) {
      if (!(error instanceof KwyreError)) throw error;
      const { code, message, remedy } = error;
      this.#supervisor.send(controlMessages.failed, encodeJson({ code, message, remedy }));
      this.#exitSoon(exitCodes.failed);
    }
  }

  #start(config: GatewayConfig): void {
    const listener = verifyLoopback(descriptors.listener);
    if (listener.port !== config.port)
      throw new KwyreError('L1_SOCKET_FOREIGN', 'the listening socket has a different port from the configuration');
    const admission = this.#createAdmission(config);
    const closedRoutes = admission.verifyRoutesClosed(this.#powers.randomToken());
    const connections = new Connections<Socket>(maxConnections(this.#powers.openFiles()));
    const handler = new RequestHandler({
      admission,
      bodyBytes: config.bodyBytes,
      intake: { open: config.open, ready: config.ready },
      connections,
      page: loadPage((name) => this.#powers.readFile(`${config.pageDirectory}/${name}`)),
      relay: this.#relay,
      status: this.#status,
    });
    this.#handler = handler;
    this.#listen(listener.fd, handler, connections);
    // This is still the same tick, so the event loop has not accepted any connection yet.
    const enforced = this.#powers.applyFinalFilter();
    setInterval(() => {
      this.#relay.dropStalled();
    }, stallCheckMs).unref();
    this.#supervisor.send(controlMessages.ready, encodeJson({ pid: this.#powers.pid, enforced, closedRoutes }));
  }

  #createAdmission({ port, tokens }: GatewayConfig): Admission {
    return new Admission({
      port,
      tokens,
      onFailedLogins: (count) => {
        this.#supervisor.send(controlMessages.event, encodeJson({ code: 'L1_TOKEN_WRONG', count }));
      },
      now: this.#powers.now,
    });
  }

  #listen(fd: number, handler: RequestHandler, connections: Connections<Socket>): void {
    const onRequest = handler.handle.bind(handler);
    this.#servers = [listenHttp({ fd, unix: false, backlog, connections }, onRequest)];
    if (this.#powers.hasUnixListener())
      this.#servers.push(listenHttp({ fd: descriptors.unixListener, unix: true, backlog, connections }, onRequest));
  }

  /** Cancels all running turns and refuses new ones until the supervisor reopens the intake. */
  #cancelTurns(): void {
    this.#handler?.closeIntake();
    this.#relay.cancelAll(faults.paused);
  }

  /** Ends every request with `fault`, then exits. @param report - whether to tell the supervisor before the exit */
  async #drain(fault: Fault, report: boolean): Promise<void> {
    if (this.#isEnding) return;
    this.#isEnding = true;
    // New connections wait in the kernel's queue for the next gateway.
    for (const server of this.#servers) {
      server.close();
      server.closeIdleConnections();
    }
    const timeout = setTimeout(this.#powers.exit, drainMs, exitCodes.stopped);
    await this.#relay.shutdown(fault);
    clearTimeout(timeout);
    if (report) this.#supervisor.send(controlMessages.drained);
    this.#exitSoon(exitCodes.stopped);
  }

  #exitSoon(code: number): void {
    setTimeout(this.#powers.exit, flushMs, code);
  }
}
