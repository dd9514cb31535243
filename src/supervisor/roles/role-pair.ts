/**
 * A gateway and an engine that start and end together, connected by their data edge.
 *
 * When the engine ends, its conversations end with it. The gateway answers the requests in flight with an error and
 * then sends `drained`. The listening socket stays open in the supervisor, and the next pair uses it. Whatever content
 * the engine left in its working set is overwritten as soon as it has ended, before anything else starts.
 *
 * Promise: death by SIGSYS or a wire protocol breach is distinguished from a crash, and never leads to a restart.
 * Proof:   test/e2e/lifecycle.test.ts, test/attacks/6-serve.test.ts, test/attacks/5-remains.test.ts
 * @module
 */
import type { JailInput } from '../../layers/2-isolation/jail/confine.ts';
import { EventEmitter } from 'node:events';
import { closeSync } from 'node:fs';
import type { KwyreError } from '../../base/errors.ts';
import type { Enforcement } from '../../base/verdict.ts';
import { contentBytes, makeWorkingMemory, overwriteWorkingMemory } from '../../layers/5-memory/memory-scrub.ts';
import { monotonicMs } from '../../linux/clocks.ts';
import { makeSocketPair } from '../../linux/sockets/socket.ts';
import { pingIntervalMs } from '../../wire/lifeline.ts';
import type { EngineConfig, EngineFacts, GatewayConfig } from '../../wire/control-payloads.ts';
import { encodeJson } from '../../wire/control-payloads.ts';
import { controlMessages } from '../../wire/messages.ts';
import { within } from '../shutdown-steps.ts';
import { EnginePulse } from './engine-pulse.ts';
import type { PairEnding, RoleEnding, ServingRole } from './pair-ending.ts';
import { breachOfPair } from './pair-ending.ts';
import { PairReadiness } from './pair-readiness.ts';
import type { LoadDescriptors } from './role-process.ts';
import { RoleProcess } from './role-process.ts';
import { EngineReports, GatewayReports } from './role-reports.ts';

/** The engine first: if both have ended, its end explains the gateway's. */
const servingRoles = ['engine', 'gateway'] as const;

/** Options for starting a pair; the descriptors in them stay open in this process for the next pair. */
export type RolePairOptions = {
  readonly listenerFd: number;
  readonly unixListenerFd: number | undefined;
  readonly modelFds: readonly [number, ...number[]];
  /** Descriptors of the code that the roles may load; the gateway receives only the first native file. */
  readonly loads: LoadDescriptors;
  /** Size of the machine's memory in bytes; the working set is limited to twice this size. */
  readonly machineBytes: number;
  readonly jail: JailInput;
  readonly engine: EngineConfig;
  /** Returns the gateway's configuration; called when the engine is ready. */
  readonly gateway: () => GatewayConfig;
  /** Returns the JSON for `GET /kwyre/status`. */
  readonly status: () => unknown;
};

/** The events of a pair. */
type PairEvents = {
  /** A role was late by `ms` milliseconds. `cut`: it aborted its turns. */
  late: [role: ServingRole, ms: number, cut: boolean];
  /** The gateway counted wrong tokens. */
  wrongTokens: [pid: number, count: number];
  /** The engine's thread stopped answering while a conversation was due to end, so the engine was killed. */
  engineStuck: [pid: number];
  /** After an order to wipe, the engine exited on its own or was killed. */
  wiped: [by: 'engine' | 'kill', pid: number];
  /** After the engine ended, the content left in its working set was overwritten: `bytes` bytes. */
  overwritten: [bytes: number];
};

/** Stream number of the ping whose answer shows that the gateway has read everything before it. */
const syncStream = 1;
/** How long the gateway may take to answer the requests in flight after the engine has ended. */
const drainMs = 1000;
/** How long an engine may take to overwrite keys and contents after a violation; the promise is 250 ms. */
export const wipeMs = 150;
/** How long to wait for a killed engine to end. It stays a zombie if a tracer does not reap it. */
const reapMs = 500;

export class RolePair extends EventEmitter<PairEvents> {
  readonly gateway: RoleProcess;
  readonly engine: RoleProcess;
  /** Settles once both processes have ended. */
  readonly ended: Promise<PairEnding>;
  /** Settles when both are ready. @throws what {@link PairReadiness.ready} throws */
  readonly ready: Promise<EngineFacts>;
  /** Number of routes that refused unauthenticated requests when the gateway tested them; 0 before the test. */
  closedRoutes = 0;
  readonly #engineReports = new EngineReports();
  readonly #gatewayReports = new GatewayReports();
  readonly #readiness = new PairReadiness();
  readonly #pulse: EnginePulse;
  #workingFd: number | undefined;
  #breach: PairEnding | undefined;
  #isServing = false;
  #isStopping = false;
  #isWiping = false;
  readonly #synced = Promise.withResolvers<undefined>();
  readonly #drained = Promise.withResolvers<undefined>();

  constructor(options: RolePairOptions) {
    super();
    const { listenerFd, unixListenerFd, modelFds, loads, jail, engine } = options;
    const data = makeSocketPair();
    const gatewayControl = makeSocketPair();
    const engineControl = makeSocketPair();
    const workingFd = makeWorkingMemory(options.machineBytes);
    this.#workingFd = workingFd;
    // The longest time for which a conversation is kept: during a turn, or idle.
    this.#pulse = new EnginePulse(Math.max(engine.turnSeconds, engine.idleSeconds) * 1000, () => performance.now());
    const unixListener = unixListenerFd === undefined ? [] : [unixListenerFd];
    const keep = new Set([listenerFd, modelFds[0], workingFd, ...unixListener]);
    const [model, ...parts] = modelFds;
    this.engine = new RoleProcess({
      role: 'engine',
      jail,
      fds: [engineControl[1], data[1], model, workingFd],
      keep,
      controlFd: engineControl[0],
      table: this.#engineReports.table,
      onBreach: this.#onBreach('engine'),
      loads,
      parts,
    });
    this.gateway = new RoleProcess({
      role: 'gateway',
      jail,
      fds: [gatewayControl[1], data[0], listenerFd, ...unixListener],
      keep,
      controlFd: gatewayControl[0],
      table: this.#gatewayReports.table,
      onBreach: this.#onBreach('gateway'),
      loads: { ...loads, natives: loads.natives.slice(0, 1) },
    });
    this.#handleReports(options);
    this.engine.control.send(controlMessages.configure, encodeJson(engine));
    this.#ping();
    const pings = setInterval(() => {
      this.#ping();
    }, pingIntervalMs);
    for (const role of servingRoles) this.#readiness.watch(role, this[role]);
    this.ready = this.#readiness.ready;
    this.ended = this.#awaitEnd().finally(() => {
      clearInterval(pings);
    });
  }

  /** Settles when the gateway has read everything it was sent so far. Used once, during the start. */
  async sync(): Promise<void> {
    this.gateway.control.send(controlMessages.ping, encodeJson({ at: monotonicMs() }), syncStream);
    await this.#synced.promise;
  }

  /** Asks both roles to end, and kills them after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.gateway.stop();
    this.engine.stop();
    const timer = setTimeout(() => {
      this.kill();
    }, graceMs);
    await this.ended;
    clearTimeout(timer);
  }

  /**
   * Ends both roles after a violation. The gateway is killed at once. The engine is told to wipe, and is killed if it
   * has not ended within {@link wipeMs}. Settles when both have ended, or when a tracer keeps the killed engine from
   * being reaped.
   */
  async wipe(): Promise<void> {
    if (this.#isWiping) return;
    this.#isWiping = true;
    this.gateway.kill();
    this.engine.stop();
    const timer = setTimeout(() => {
      this.engine.kill();
    }, wipeMs);
    const ending = await within(this.engine.ended, wipeMs + reapMs);
    clearTimeout(timer);
    // An engine that exits with 0 has overwritten its keys and contents itself.
    this.emit('wiped', ending?.code === 0 ? 'engine' : 'kill', this.engine.pid);
    await within(this.gateway.ended, reapMs);
  }

  /** Aborts every running turn, because the machine paused and its memory may have been read in the meantime. */
  cutTurns(): void {
    for (const role of servingRoles) this[role].control.send(controlMessages.pause);
  }

  /** Kills both roles at once. */
  kill(): void {
    this.gateway.kill();
    this.engine.kill();
  }

  /** The enforcement that each role's jail and final filter reported. */
  get enforced(): Readonly<Record<ServingRole, readonly Enforcement[]>> {
    return { gateway: this.#gatewayReports.enforced, engine: this.#engineReports.enforced };
  }

  /** Number of bytes in the engine's working set that have content. */
  get workingBytes(): number {
    return this.#workingFd === undefined ? 0 : contentBytes(this.#workingFd);
  }

  /** Overwrites, once, the working set of an engine that ended or was killed. @throws `L5_NOT_OVERWRITTEN` */
  overwrite(): void {
    if (this.#workingFd === undefined) return;
    const fd = this.#workingFd;
    this.#workingFd = undefined;
    try {
      this.emit('overwritten', overwriteWorkingMemory(fd));
    } finally {
      closeSync(fd); // the kernel frees the pages when the last descriptor is closed
    }
  }

  /** Once a second, tells both roles that the supervisor is running; the engine has to answer. */
  #ping(): void {
    if (this.#isServing && this.#pulse.ping()) {
      this.#isServing = false;
      this.emit('engineStuck', this.engine.pid);
      this.engine.kill();
      return;
    }
    for (const role of servingRoles) this[role].control.send(controlMessages.ping, encodeJson({ at: monotonicMs() }));
  }

  #handleReports({ gateway: gatewayConfig, status }: RolePairOptions): void {
    this.#engineReports.on('failed', (error) => {
      this.#readiness.fail('engine', error);
    });
    this.#gatewayReports.on('failed', (error) => {
      this.#readiness.fail('gateway', error);
    });
    this.#engineReports.on('late', (ms, cut) => this.emit('late', 'engine', ms, cut));
    this.#gatewayReports.on('late', (ms, cut) => this.emit('late', 'gateway', ms, cut));
    this.#engineReports.on('pong', (pulse) => {
      this.#pulse.answered(pulse);
    });
    this.#engineReports.on('ready', (facts) => {
      this.engine.endStart();
      this.#isServing = true;
      // The gateway may accept clients only from now on, so nothing that the engine sent before can contain their text.
      this.gateway.control.send(controlMessages.configure, encodeJson(gatewayConfig()));
      this.#readiness.engineReady(facts);
    });
    this.#gatewayReports.on('ready', (closedRoutes) => {
      this.closedRoutes = closedRoutes;
      this.gateway.endStart();
      this.#readiness.gatewayReady();
    });
    this.#gatewayReports.on('pong', (stream) => {
      if (stream === syncStream) this.#synced.resolve(undefined);
    });
    this.#gatewayReports.on('wrongTokens', (count) => this.emit('wrongTokens', this.gateway.pid, count));
    this.#gatewayReports.on('statusRequest', (stream) => {
      this.gateway.control.send(controlMessages.statusAnswer, encodeJson(status()), stream);
    });
    this.#gatewayReports.on('drained', () => {
      this.#drained.resolve(undefined);
    });
  }

  #onBreach(role: ServingRole): (error: KwyreError) => void {
    return (error) => {
      this.#breach ??= { kind: 'breach', role, pid: this[role].pid, reason: error.code };
      this.kill();
    };
  }

  async #awaitEnd(): Promise<PairEnding> {
    const endings = servingRoles.map(async (role): Promise<RoleEnding> => {
      const { pid, ended } = this[role];
      return { role, pid, ending: await ended };
    });
    const first = await Promise.race(endings);
    const mayDrain = this.#breach === undefined && breachOfPair([first]) === undefined && !this.#isStopping;
    if (first.role === 'engine' && mayDrain)
      await within(Promise.race([this.#drained.promise, this.gateway.ended]), drainMs);
    if (this.#isWiping) await this.engine.ended;
    this.kill();
    this.#breach ??= breachOfPair(await Promise.all(endings));
    this.engine.release();
    this.gateway.release();
    this.overwrite();
    if (this.#breach !== undefined) return this.#breach;
    const { role, ending } = first;
    return this.#isStopping ? { kind: 'stopped' } : { kind: 'crash', role, code: ending.code, signal: ending.signal };
  }
}
