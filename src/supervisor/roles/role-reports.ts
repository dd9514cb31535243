/**
 * Parses the reports that the gateway and the engine send on their control edges, and emits them as events.
 *
 * Trust: the reports come from a jailed process. A malformed message, or one at the wrong time, is a breach.
 * Proof: test/unit/wire/channel.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import { EventEmitter } from 'node:events';
import { KwyreError } from '../../base/errors.ts';
import type { Enforcement } from '../../base/verdict.ts';
import type { DispatchTable } from '../../wire/channel.ts';
import type { EngineFacts, EnginePong } from '../../wire/control-payloads.ts';
import { controlSchemas, parseEnginePong, parseJson } from '../../wire/control-payloads.ts';
import { controlMessages } from '../../wire/messages.ts';

type CommonEvents = {
  /** The role cannot start. */
  failed: [KwyreError];
  /** The role was late by `ms` milliseconds. `cut`: it aborted its turns. */
  late: [ms: number, cut: boolean];
};

type EngineEvents = CommonEvents & { ready: [EngineFacts]; pong: [EnginePong] };

type GatewayEvents = CommonEvents & {
  /** The gateway is ready. `closedRoutes`: number of routes that refused a request without a valid token. */
  ready: [closedRoutes: number];
  /** The gateway answered the ping with this stream number. */
  pong: [stream: number];
  wrongTokens: [count: number];
  statusRequest: [stream: number];
  /** The data edge closed, and the gateway has since answered all requests in flight. */
  drained: [];
};

type CommonHandlers = {
  readonly enforced: (enforced: readonly Enforcement[]) => void;
  readonly failed: (error: KwyreError) => void;
  readonly late: (ms: number, cut: boolean) => void;
};

function commonTable(handlers: CommonHandlers): DispatchTable {
  return {
    [controlMessages.enforced]: {
      permit: 'start',
      handle: (frame) => {
        handlers.enforced(parseJson(controlSchemas.enforced, frame.payload).enforced);
      },
    },
    [controlMessages.failed]: {
      permit: 'start',
      handle: (frame) => {
        const { code, message, remedy } = parseJson(controlSchemas.failed, frame.payload);
        handlers.failed(new KwyreError(code, message, remedy));
      },
    },
    [controlMessages.late]: {
      permit: 'always',
      handle: (frame) => {
        const { ms, cut } = parseJson(controlSchemas.late, frame.payload);
        handlers.late(ms, cut);
      },
    },
  };
}

export class EngineReports extends EventEmitter<EngineEvents> {
  /** The enforcement that the role's jail and final filter reported. */
  enforced: readonly Enforcement[] = [];

  readonly table: DispatchTable = {
    ...commonTable({
      enforced: (enforced) => {
        this.enforced = enforced;
      },
      failed: (error) => this.emit('failed', error),
      late: (ms, cut) => this.emit('late', ms, cut),
    }),
    [controlMessages.ready]: {
      permit: 'start',
      handle: (frame) => {
        const facts = parseJson(controlSchemas.readyEngine, frame.payload);
        this.enforced = [...this.enforced, ...facts.enforced];
        this.emit('ready', facts);
      },
    },
    [controlMessages.pong]: {
      permit: 'always',
      handle: (frame) => {
        this.emit('pong', parseEnginePong(frame.payload));
      },
    },
  };
}

export class GatewayReports extends EventEmitter<GatewayEvents> {
  /** The enforcement that the role's jail and final filter reported. */
  enforced: readonly Enforcement[] = [];

  readonly table: DispatchTable = {
    ...commonTable({
      enforced: (enforced) => {
        this.enforced = enforced;
      },
      failed: (error) => this.emit('failed', error),
      late: (ms, cut) => this.emit('late', ms, cut),
    }),
    [controlMessages.ready]: {
      permit: 'start',
      handle: (frame) => {
        const { enforced, closedRoutes } = parseJson(controlSchemas.readyGateway, frame.payload);
        this.enforced = [...this.enforced, ...enforced];
        this.emit('ready', closedRoutes);
      },
    },
    [controlMessages.pong]: {
      permit: 'always',
      handle: (frame) => {
        this.emit('pong', frame.stream);
      },
    },
    [controlMessages.event]: {
      permit: 'always',
      handle: (frame) => {
        this.emit('wrongTokens', parseJson(controlSchemas.event, frame.payload).count);
      },
    },
    [controlMessages.statusRequest]: {
      permit: 'always',
      handle: (frame) => {
        this.emit('statusRequest', frame.stream);
      },
    },
    [controlMessages.drained]: {
      permit: 'once',
      handle: () => {
        this.emit('drained');
      },
    },
  };
}
