/**
 * A gateway and an engine that live and die together, joined by their data edge.
 *
 * When the engine dies its conversations die with it; the gateway answers what is in flight with an error, says
 * `drained`, and a fresh pair takes over the listening socket, which stays open in the supervisor.
 *
 * What the engine left in its working set is overwritten as soon as it has ended, before anything else starts.
 *
 * Promise: a death by SIGSYS or a breach of the wire is told apart from a crash; it is never answered by a restart.
 * @module
 */
import { closeSync } from 'node:fs';
import { KwyreError } from '../../base/errors.ts';
import type { Enforcement } from '../../base/verdict.ts';
import { contentBytes, makeWorkingMemory, overwriteWorkingMemory } from '../../layers/5-memory/memory-scrub.ts';
import { makeSocketPair } from '../../linux/sockets/socket.ts';
import type { DispatchTable } from '../../wire/channel.ts';
import { monotonicMs } from '../../linux/clocks.ts';
import { lifelineExit, pingIntervalMs } from '../../wire/lifeline.ts';
import type { EngineConfig, EngineFacts, GatewayConfig } from '../../wire/control-payloads.ts';
import { controlSchemas, encodeJson, parseJson, parseEnginePong } from '../../wire/control-payloads.ts';
import { controlMessages } from '../../wire/messages.ts';
import type { LoadDescriptors, JailInput, Role } from './role-process.ts';
import { RoleProcess } from './role-process.ts';
import { EnginePulse } from './engine-pulse.ts';

/** Why a pair ended. */
export type PairEnding =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'crash'; readonly role: Role; readonly code: number | null; readonly signal: string | null }
  | { readonly kind: 'breach'; readonly role: Role; readonly pid: number; readonly reason: string };

/** What a pair is made from; the descriptors stay open here for the next pair. */
export type RolePairOptions = {
  readonly listenerFd: number;
  readonly unixListenerFd: number | undefined;
  readonly modelFds: readonly [number, ...number[]];
  /** What the roles may load; the gateway is handed the first of the native files only. */
  readonly loads: LoadDescriptors;
  /** How much memory the machine has: its double bounds the working set. */
  readonly machineBytes: number;
  readonly jail: (role: Role) => JailInput;
  readonly engine: EngineConfig;
  readonly gateway: () => GatewayConfig;
  /** The JSON of `GET /kwyre/status`, asked for by the gateway. */
  readonly status: () => unknown;
  /** The engine has ended; so much of its working set had content and was overwritten. */
  readonly onOverwritten: (bytes: number) => void;
  /** A role stood still, and cut its turns if that was for long. */
  readonly onLate: (role: Role, ms: number, cut: boolean) => void;
  /** The engine of a pair that was wiped has ended: by itself, or by force. */
  readonly onWiped: (code: 'ENGINE_WIPED' | 'ENGINE_KILLED' | 'ENGINE_STOOD_STILL', pid: number) => void;
  /** The gateway counted wrong tokens. */
  readonly onWrongTokens: (pid: number, count: number) => void;
};

/** The reason of a breach when the roles ended because this process stood still. */
export const supervisorStopped = 'SUPERVISOR_STOPPED';

/** What a child ends with when a module is not the verified one. */
const loadRefused = 13;

/** The number of the ping whose answer says that the gateway has read what came before it. */
const heardStream = 1;

const drainMs = 1000;
/** How long an engine may take to overwrite keys and contents after a violation; 250 ms is the promise. */
export const wipeMs = 150;
/** How long a killed engine is waited for: a tracer that does not reap it keeps its death from us. */
const reapedMs = 500;
const readyMs = 120_000;

export class RolePair {
  readonly gateway: RoleProcess;
  readonly engine: RoleProcess;
  /** Settles once both processes are gone. */
  readonly ended: Promise<PairEnding>;
  /** Settles when both are sealed and serving; rejects with the failure that a role reported. */
  readonly ready: Promise<EngineFacts>;
  /** What each role's jail and seal observed. */
  readonly enforced: Record<Role, readonly Enforcement[]> = { gateway: [], engine: [] };
  /** How many routes the gateway saw refuse a request without a token; 0 until it has tried. */
  closedRoutes = 0;
  #workingFd: number | undefined;
  readonly #onOverwritten: (bytes: number) => void;
  readonly #onWiped: RolePairOptions['onWiped'];
  #breach: PairEnding | undefined;
  #stopping = false;
  #wiping = false;
  readonly #heard = Promise.withResolvers<undefined>();
  #drained!: (value: undefined) => void;

  constructor(plan: RolePairOptions) {
    const data = makeSocketPair();
    const gatewayControl = makeSocketPair();
    const engineControl = makeSocketPair();
    const workingFd = makeWorkingMemory(plan.machineBytes);
    this.#workingFd = workingFd;
    this.#onOverwritten = plan.onOverwritten;
    this.#onWiped = plan.onWiped;
    const keep = new Set([
      plan.listenerFd,
      plan.modelFds[0],
      workingFd,
      ...(plan.unixListenerFd === undefined ? [] : [plan.unixListenerFd]),
    ]);
    const drained = new Promise<undefined>((resolve) => {
      this.#drained = resolve;
    });
    const readiness = { gateway: Promise.withResolvers<undefined>(), engine: Promise.withResolvers<EngineFacts>() };
    const gatewayFds = [
      gatewayControl[1],
      data[0],
      plan.listenerFd,
      ...(plan.unixListenerFd === undefined ? [] : [plan.unixListenerFd]),
    ];
    // What lasts longest: a turn, or a conversation without one.
    const pulse = new EnginePulse(Math.max(plan.engine.turnSeconds, plan.engine.idleSeconds) * 1000, () =>
      performance.now(),
    );
    let isServing = false;
    const common = (role: Role): DispatchTable => ({
      [controlMessages.enforced]: {
        permit: 'start',
        handle: (frame) => {
          this.enforced[role] = parseJson(controlSchemas.enforced, frame.payload).enforced;
        },
      },
      [controlMessages.failed]: {
        permit: 'start',
        handle: (frame) => {
          const { code, message, remedy } = parseJson(controlSchemas.failed, frame.payload);
          readiness[role].reject(new KwyreError(code, message, remedy));
        },
      },
      [controlMessages.late]: {
        permit: 'always',
        handle: (frame) => {
          const { ms, cut } = parseJson(controlSchemas.late, frame.payload);
          plan.onLate(role, ms, cut);
        },
      },
      [controlMessages.pong]: {
        permit: 'always',
        handle: (frame) => {
          if (role === 'engine') pulse.answered(parseEnginePong(frame.payload));
          if (role === 'gateway' && frame.stream === heardStream) this.#heard.resolve(undefined);
        },
      },
    });
    /** Nothing that it says from now on is shown or written: it may hold text of a conversation. */
    const endStart = (role: Role): void => {
      this[role].silence();
      this[role].control.endStartup();
    };

    const [model, ...parts] = plan.modelFds;
    this.engine = new RoleProcess(
      'engine',
      plan.jail('engine'),
      [engineControl[1], data[1], model, workingFd],
      engineControl[0],
      keep,
      {
        ...common('engine'),
        [controlMessages.ready]: {
          permit: 'start',
          handle: (frame) => {
            const facts = parseJson(controlSchemas.readyEngine, frame.payload);
            this.enforced.engine = [...this.enforced.engine, ...facts.enforced];
            endStart('engine');
            isServing = true;
            // Only now may a client be heard: whatever the engine said until here, it can have held no word of
            // anybody's.
            this.gateway.control.send(controlMessages.configure, encodeJson(plan.gateway()));
            readiness.engine.resolve(facts);
          },
        },
      },
      this.#onBreach('engine'),
      plan.loads,
      parts,
    );
    this.gateway = new RoleProcess(
      'gateway',
      plan.jail('gateway'),
      gatewayFds,
      gatewayControl[0],
      keep,
      {
        ...common('gateway'),
        [controlMessages.ready]: {
          permit: 'start',
          handle: (frame) => {
            const facts = parseJson(controlSchemas.readyGateway, frame.payload);
            this.enforced.gateway = [...this.enforced.gateway, ...facts.enforced];
            this.closedRoutes = facts.closedRoutes;
            endStart('gateway');
            readiness.gateway.resolve(undefined);
          },
        },
        [controlMessages.event]: {
          permit: 'always',
          handle: (frame) => {
            plan.onWrongTokens(this.gateway.pid, parseJson(controlSchemas.event, frame.payload).count);
          },
        },
        [controlMessages.statusRequest]: {
          permit: 'always',
          handle: (frame) => {
            this.gateway.control.send(controlMessages.statusAnswer, encodeJson(plan.status()), frame.stream);
          },
        },
        [controlMessages.drained]: {
          permit: 'once',
          handle: () => {
            this.#drained(undefined);
          },
        },
      },
      this.#onBreach('gateway'),
      { ...plan.loads, natives: plan.loads.natives.slice(0, 1) },
    );

    this.engine.control.send(controlMessages.configure, encodeJson(plan.engine));
    const speak = () => {
      if (isServing && pulse.ping()) {
        isServing = false;
        plan.onWiped('ENGINE_STOOD_STILL', this.engine.pid);
        this.engine.kill();
        return;
      }
      for (const role of ['gateway', 'engine'] as const)
        this[role].control.send(controlMessages.ping, encodeJson({ at: monotonicMs() }));
    };
    speak();
    const words = setInterval(speak, pingIntervalMs);
    const timer = setTimeout(() => {
      readiness.engine.reject(
        new KwyreError(
          'START_TIMEOUT',
          'the engine was not ready in time',
          'try a smaller model, or look at ./kwyre doctor',
        ),
      );
    }, readyMs);
    for (const role of ['gateway', 'engine'] as const) {
      // Only then: the failure that it reported last would be lost otherwise.
      void this[role].silent.then((ending) => {
        const words = this[role].lastWords.trim();
        const code = ending.code === loadRefused ? 'L3_LOAD_REFUSED' : 'START_FAILED';
        readiness[role].reject(
          new KwyreError(
            code,
            `the ${role} ended while starting (${ending.signal ?? `exit ${ending.code ?? 1}`})${words === '' ? '' : `: ${words}`}`,
            code === 'L3_LOAD_REFUSED'
              ? 'install again: npm ci --omit=dev --ignore-scripts --no-bin-links'
              : './kwyre doctor says what this machine can enforce; start again with less --ctx if memory is short',
          ),
        );
      });
    }
    this.ready = Promise.all([readiness.engine.promise, readiness.gateway.promise])
      .then(([facts]) => facts)
      .finally(() => {
        clearTimeout(timer);
      });
    this.ready.catch(() => undefined);
    this.ended = this.#watch(drained).finally(() => {
      clearInterval(words);
    });
  }

  /** Settles when the gateway has taken in everything that it was told until now; for the start, once. */
  async heard(): Promise<void> {
    this.gateway.control.send(controlMessages.ping, encodeJson({ at: monotonicMs() }), heardStream);
    await this.#heard.promise;
  }

  /** Ends both, by order first and by force after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    this.gateway.stop();
    this.engine.stop();
    const timer = setTimeout(() => {
      this.kill();
    }, graceMs);
    await this.ended;
    clearTimeout(timer);
  }

  /**
   * Ends both after a violation: the gateway at once, the engine by the order to wipe, and by force if it has not ended
   * soon. Settles when both are gone, or killed and held by a tracer.
   */
  async wipe(): Promise<void> {
    if (this.#wiping) return;
    this.#wiping = true;
    this.gateway.kill();
    this.engine.stop();
    const held = Promise.withResolvers<undefined>();
    const timers = [
      setTimeout(() => {
        this.engine.kill();
      }, wipeMs),
      setTimeout(() => {
        held.resolve(undefined);
      }, wipeMs + reapedMs),
    ];
    const ending = await Promise.race([this.engine.ended, held.promise]);
    for (const timer of timers) clearTimeout(timer);
    // An engine that ends with 0 has overwritten its keys and contents itself.
    this.#onWiped(ending?.code === 0 ? 'ENGINE_WIPED' : 'ENGINE_KILLED', this.engine.pid);
    await Promise.race([this.gateway.ended, held.promise]);
  }

  /** Cuts every running turn: the machine stood still, and who knows what saw it meanwhile. */
  cutTurns(): void {
    for (const role of ['gateway', 'engine'] as const) this[role].control.send(controlMessages.pause);
  }

  /** Ends both at once. */
  kill(): void {
    this.gateway.kill();
    this.engine.kill();
  }

  /** How much of the engine's working set has content. */
  get workingBytes(): number {
    return this.#workingFd === undefined ? 0 : contentBytes(this.#workingFd);
  }

  /**
   * Overwrites the engine's working set; it must have ended, or have been killed. Safe to call twice. @throws
   * `L5_NOT_OVERWRITTEN`
   */
  overwrite(): void {
    if (this.#workingFd === undefined) return;
    const fd = this.#workingFd;
    this.#workingFd = undefined;
    try {
      this.#onOverwritten(overwriteWorkingMemory(fd));
    } finally {
      closeSync(fd); // with the last descriptor the kernel takes the pages back
    }
  }

  #onBreach(role: Role): (error: KwyreError) => void {
    return (error) => {
      this.#breach ??= { kind: 'breach', role, pid: this[role].pid, reason: error.code };
      this.kill();
    };
  }

  async #watch(drained: Promise<undefined>): Promise<PairEnding> {
    const first = await Promise.race([
      this.engine.ended.then((ending) => ({ role: 'engine' as const, ending })),
      this.gateway.ended.then((ending) => ({ role: 'gateway' as const, ending })),
    ]);
    if (first.ending.signal === 'SIGSYS') {
      this.#breach ??= { kind: 'breach', role: first.role, pid: this[first.role].pid, reason: 'SIGSYS' };
    } else if (first.ending.code === lifelineExit) {
      this.#breach ??= { kind: 'breach', role: first.role, pid: this[first.role].pid, reason: supervisorStopped };
    } else if (first.role === 'engine' && this.#breach === undefined && !this.#stopping) {
      const late = Promise.withResolvers<undefined>();
      const timer = setTimeout(() => {
        late.resolve(undefined);
      }, drainMs);
      await Promise.race([drained, this.gateway.ended, late.promise]);
      clearTimeout(timer);
    }
    if (this.#wiping) await this.engine.ended;
    this.kill();
    const endings = await Promise.all([this.engine.ended, this.gateway.ended]);
    this.engine.release();
    this.gateway.release();
    this.overwrite();
    if (this.#breach === undefined && endings.some((ending) => ending.signal === 'SIGSYS')) {
      const role = endings[0].signal === 'SIGSYS' ? 'engine' : 'gateway';
      this.#breach = { kind: 'breach', role, pid: this[role].pid, reason: 'SIGSYS' };
    }
    if (this.#breach !== undefined) return this.#breach;
    return this.#stopping
      ? { kind: 'stopped' }
      : { kind: 'crash', role: first.role, code: first.ending.code, signal: first.ending.signal };
  }
}
