/**
 * The life of a gateway: wait for the configuration, listen and seal in one tick, serve, and end in order.
 *
 * Promise: no byte of a client is read before the seal. Losing the supervisor, a breach by a sibling or an order to
 *          stop ends the process; losing the engine ends it too, after every client was told.
 * Proof:   test/unit/gateway/lifecycle.test.ts
 * @module
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { KwyreError } from '../base/errors.ts';
import type { Enforcement } from '../base/verdict.ts';
import { backlog, verifyLoopback } from '../layers/1-loopback/listener.ts';
import { openStream } from '../linux/sockets/inherited-stream.ts';
import type { Stream } from '../linux/sockets/inherited-stream.ts';
import { Channel } from '../wire/channel.ts';
import type { GatewayConfig } from '../wire/control-payloads.ts';
import { Lifeline, lifelineExit } from '../wire/lifeline.ts';
import { controlSchemas, encodeJson, parseJson } from '../wire/control-payloads.ts';
import { controlMessages, descriptors } from '../wire/messages.ts';
import { Desk } from './admission.ts';
import { Connections } from './connections.ts';
import { loadPage } from './status-page.ts';
import { Relay, faults } from './relay.ts';
import { connectionsFor, listenHttp } from './http-server.ts';
import { StatusDesk } from './status.ts';

/** What the process may do, handed in by `main.ts`. */
export type Powers = {
  readonly pid: number;
  /** Locks this process down for good and tells what that gave. */
  readonly seal: () => readonly Enforcement[];
  readonly exit: (code: number) => void;
  readonly readFile: (path: string) => Buffer;
  /** Whether the descriptor of the optional Unix listener was handed over. */
  readonly hasUnixListener: () => boolean;
  /** How many descriptors this process may have. */
  readonly openFiles: () => number;
  readonly now: () => number;
  /** CLOCK_MONOTONIC in milliseconds, the same in every process. */
  readonly monotonic: () => number;
  /** A token that nobody has. */
  readonly randomToken: () => string;
};

export const exitCodes = { stopped: 0, failed: 1, breach: 70 } as const;

/** What a full drain may take; the supervisor waits a second. */
const drainMs = 700;
const sweepMs = 5000;
const flushMs = 20;

/** Runs the gateway on the descriptors that it was given. */
export function serve(powers: Powers): void {
  const onBreach = () => {
    powers.exit(exitCodes.breach);
  };
  let servers: Server[] = [];
  let desk: Desk | undefined;
  let ending = false;

  const data: Stream = openStream(
    descriptors.data,
    (chunk) => {
      engine.receive(chunk);
    },
    () => {
      void end(faults.engineLost, true);
    },
    () => {
      relay.edgeDrained();
    },
  );
  const relay = new Relay(
    {
      send: (type, payload, stream) => {
        engine.send(type, payload, stream);
      },
      full: () => data.full(),
    },
    powers.now,
  );
  const engine = new Channel(data, relay.table, onBreach);

  const end = async (fault: typeof faults.engineLost | typeof faults.stopping, tell: boolean): Promise<void> => {
    if (ending) return;
    ending = true;
    // New connections wait in the kernel's queue for the next gateway.
    for (const server of servers) {
      server.close();
      server.closeIdleConnections();
    }
    const late = setTimeout(powers.exit, drainMs, exitCodes.stopped);
    await relay.shut(fault);
    clearTimeout(late);
    if (tell) supervisor.send(controlMessages.drained);
    leave(exitCodes.stopped);
  };
  // What was written last is given a moment to go out.
  const leave = (code: number): void => {
    setTimeout(powers.exit, flushMs, code);
  };

  const start = (config: GatewayConfig): void => {
    const listener = verifyLoopback(descriptors.listener);
    if (listener.port !== config.port)
      throw new KwyreError('L1_SOCKET_FOREIGN', 'the listening socket is not the one of the configuration');
    const unix = powers.hasUnixListener();
    const connections = new Connections<Socket>(connectionsFor(powers.openFiles()));
    desk = new Desk({
      port: config.port,
      tokens: config.tokens,
      bodyBytes: config.bodyBytes,
      intake: { open: config.open, ready: config.ready },
      connections,
      page: loadPage((file) => powers.readFile(`${config.pageDirectory}/${file}`)),
      relay,
      status: (request, response) => {
        status.ask(request, response);
      },
      onFailures: (count) => {
        supervisor.send(controlMessages.event, encodeJson({ code: 'L1_TOKEN_WRONG', count }));
      },
      now: powers.now,
    });
    const ask = desk.ask.bind(desk);
    const closedRoutes = desk.tryClosed(powers.randomToken());
    servers = [listenHttp({ fd: listener.fd, unix: false, backlog, connections }, ask)];
    if (unix) servers.push(listenHttp({ fd: descriptors.unixListener, unix: true, backlog, connections }, ask));
    // Still the same tick: the event loop has accepted nothing yet.
    const enforced = powers.seal();
    setInterval(() => {
      relay.dropStalled();
    }, sweepMs).unref();
    supervisor.send(controlMessages.ready, encodeJson({ pid: powers.pid, enforced, closedRoutes }));
  };

  /** Ends what is open and takes nothing more until the supervisor says so. */
  const cutTurns = (): void => {
    desk?.closeIntake();
    relay.cut(faults.paused);
  };

  const control: Stream = openStream(
    descriptors.control,
    (chunk) => {
      supervisor.receive(chunk);
    },
    () => {
      powers.exit(exitCodes.stopped);
    },
  );
  const supervisor = new Channel(
    control,
    {
      [controlMessages.configure]: {
        permit: 'once',
        handle: (frame) => {
          const config = parseJson(controlSchemas.configureGateway, frame.payload);
          try {
            start(config);
          } catch (error) {
            if (!(error instanceof KwyreError)) throw error;
            supervisor.send(
              controlMessages.failed,
              encodeJson({ code: error.code, message: error.message, remedy: error.remedy }),
            );
            leave(exitCodes.failed);
          }
        },
      },
      [controlMessages.tokensSet]: {
        permit: 'always',
        handle: (frame) => {
          desk?.replaceTokens(parseJson(controlSchemas.tokens, frame.payload).tokens);
        },
      },
      [controlMessages.intake]: {
        permit: 'always',
        handle: (frame) => {
          desk?.setIntake(parseJson(controlSchemas.intake, frame.payload));
        },
      },
      [controlMessages.statusAnswer]: {
        permit: 'always',
        handle: (frame) => {
          status.answer(frame);
        },
      },
      [controlMessages.ping]: {
        permit: 'always',
        handle: (frame) => {
          lifeline.onPing(parseJson(controlSchemas.ping, frame.payload).at);
          supervisor.send(controlMessages.pong, undefined, frame.stream);
        },
      },
      [controlMessages.pause]: {
        permit: 'always',
        handle: () => {
          cutTurns();
        },
      },
      [controlMessages.stop]: {
        permit: 'once',
        handle: () => {
          void end(faults.stopping, false);
        },
      },
    },
    onBreach,
  );
  const lifeline = new Lifeline({
    now: powers.monotonic,
    afterReading: (then) => setTimeout(setImmediate, 0, then),
    onLate: (ms, cut) => {
      supervisor.send(controlMessages.late, encodeJson({ ms, cut }));
    },
    onPaused: () => {
      cutTurns();
    },
    onLost: () => {
      powers.exit(lifelineExit);
    },
  });
  const status = new StatusDesk((stream) => {
    supervisor.send(controlMessages.statusRequest, undefined, stream);
  });
}
