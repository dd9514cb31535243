/**
 * Runs a server from start to end. The supervisor parses no data from the network.
 *
 * Promise: whenever the supervisor ends (by SIGTERM, SIGINT, SIGHUP, SIGQUIT, an uncaught error or its own death),
 *          every child ends too. If a role dies from SIGSYS or breaches the wire protocol, the server ends with exit
 *          code 16. If the engine crashes, a fresh pair is started, at most three times an hour. After a violation, the
 *          conversations are wiped before the violation is logged and its marker written.
 * Proof:   test/e2e/lifecycle.test.ts, test/attacks/6-serve.test.ts, test/attacks/x-disk.test.ts
 * @module
 */
import * as fs from 'node:fs';
import type { Config } from '../base/config.ts';
import { parseServe } from '../base/config.ts';
import { version } from '../base/version.ts';
import { programFolder } from '../installation/paths.ts';
import { confineSupervisor } from '../layers/2-isolation/jail/supervisor-filter.ts';
import { probePrograms } from '../layers/2-isolation/probe/probe-runner.ts';
import { checkWaivers } from '../layers/2-isolation/waiver-check.ts';
import { loadListDescriptor, nativeDescriptors } from '../layers/3-dependencies/load-list.ts';
import { immediateViolations } from '../layers/6-intrusion/escalation.ts';
import { processAge } from '../linux/procfs/task-stat.ts';
import { nodeFlags } from '../policy/node-flags.ts';
import { makeWitness } from '../state/server-witness.ts';
import { defaultStateDirectory } from '../state/state-directory.ts';
import { encodeJson } from '../wire/control-payloads.ts';
import { controlMessages } from '../wire/messages.ts';
import { Alarm } from './intrusion/alarm.ts';
import { announce } from './intrusion/announcements.ts';
import { EventBudget } from './intrusion/event-budget.ts';
import { WeightsMonitor } from './intrusion/weights-monitor.ts';
import { LiveTokens } from './live-tokens.ts';
import { countFilters, readTable, readThreads } from './proc-readings.ts';
import { ExitVerdict } from './roles/exit-verdict.ts';
import { rolePairOptions } from './roles/pair-options.ts';
import type { RolePair } from './roles/role-pair.ts';
import { wipeMs } from './roles/role-pair.ts';
import { ownProgram } from './roles/role-process.ts';
import { describeEscape, SelfProbe } from './roles/self-probe.ts';
import { processesOf, ServingPair } from './serving-pair.ts';
import { stopSignal } from './shutdown-signals.ts';
import { attempt, within } from './shutdown-steps.ts';
import { assertOwnProgram } from './start/own-program.ts';
import type { Handover } from './start/reexec.ts';
import type { ServerResources } from './start/server-resources.ts';
import { openResources } from './start/server-resources.ts';
import { startText } from './start/start-text.ts';
import { ServerStatus } from './status.ts';

/** How long the roles may take to exit when asked to. */
const graceMs = 800;
/** The longest wait for killed children to end. A child may hang in the kernel and never end. */
const endMs = 2000;
/** The longest delay before a violation is recorded, while the roles that hold conversations are ending. */
const recordMs = 1000;
const violationExit = 16;

class Server {
  readonly #resources: ServerResources;
  readonly #tokens: LiveTokens;
  readonly #budget: EventBudget;
  readonly #alarm: Alarm;
  readonly #serving: ServingPair;
  readonly #probe: SelfProbe;
  readonly #verdict: ExitVerdict;
  readonly #status: ServerStatus;
  readonly #stop = stopSignal();
  /** Settles when the violation, if any, has been recorded. */
  #recorded: Promise<void> = Promise.resolve();
  /** Whether the token has been published. From then on, the server can be used. */
  #isPublished = false;

  /** Starts the watchdog. */
  constructor(config: Config, { tree, visible }: Handover, resources: ServerResources) {
    const { uid, state, model, listener, network, installed, jails, loads } = resources;
    this.#resources = resources;
    const filtersAtStart = countFilters();
    this.#tokens = new LiveTokens(state.folder, state.log, () => {
      this.#serving.pair?.gateway.control.send(controlMessages.tokensSet, encodeJson({ tokens: this.#tokens.digests }));
    });
    this.#budget = new EventBudget(state.log, () => performance.now());
    this.#serving = new ServingPair(state.log, () =>
      rolePairOptions(config, resources, {
        intake: () => this.#intake(),
        tokens: () => this.#tokens.digests,
        status: () => this.#status.json(),
      }),
    );
    this.#alarm = new Alarm({
      uid,
      jail: jails.of('watchdog'),
      loads: { fd: loads.fd, natives: loads.natives.slice(0, 1) },
      intervalMs: config.scanMs,
      profile: installed ? 'installed' : 'person',
      acknowledged: config.acknowledgedTools,
      weights: new WeightsMonitor(model.fds, uid),
    });
    this.#verdict = new ExitVerdict(state);
    this.#probe = new SelfProbe({
      programs: probePrograms(programFolder, import.meta.filename, ownProgram, nodeFlags, {
        fd: loads.fd,
        at: loadListDescriptor,
        binding: loads.natives[0],
        bindingAt: nativeDescriptors.first,
      }),
      jail: (role) => jails.of(role),
      ownPort: () => listener.port,
      readTable: (name) => readTable(`/proc/${network}/net/${name}`),
      readThreads: (role) =>
        readThreads(role === 'watchdog' ? this.#alarm.watchdogPid : (this.#serving.pair?.[role].pid ?? 0)),
      inherited: (role) => (role === 'watchdog' ? filtersAtStart : this.#serving.inheritedFilters),
      now: () => Date.now(),
      onEscape: (result) => {
        this.#alarm.raise(
          { code: immediateViolations.selfProbe, detector: 'jail', pid: process.pid, uid, name: 'kwyre probe' },
          describeEscape(result),
        );
      },
      onLocksTried: () => {
        this.#status.confined = confineSupervisor();
      },
    });
    this.#status = new ServerStatus({
      ...resources,
      config,
      tree,
      visible,
      serving: this.#serving,
      alarm: this.#alarm,
      probe: this.#probe,
      restarts: () => this.#verdict.restarts,
    });
    this.#connect();
  }

  /** Serves until the server shuts down; returns the exit code. @throws KwyreError if the server refuses to start */
  async run(): Promise<number> {
    process.on('exit', () => {
      this.#serving.pair?.kill();
      this.#alarm.kill();
      void attempt(() => this.#serving.pair?.overwrite());
    });
    let failure: unknown;
    try {
      const started = await this.#unlessEnded(
        Promise.all([this.#serving.start(), this.#alarm.admit(), this.#probe.start()]),
      );
      if (typeof started === 'string') return started === 'stop' ? 0 : violationExit;
      const [pair] = started;
      await this.#publish(pair);
      return await this.#serve(pair);
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      await this.#shutDown(failure);
    }
  }

  /** Serves, replacing the pair when it crashes; returns the exit code. */
  async #serve(first: RolePair): Promise<number> {
    for (let pair = first; ;) {
      const ending = await this.#unlessEnded(pair.ended);
      if (ending === 'violated') return violationExit;
      if (ending === 'stop') {
        await pair.stop(graceMs);
        this.#resources.state.log.write({ code: 'SERVER_STOPPED' });
        return 0;
      }
      this.#watch(undefined);
      const exit = this.#verdict.judge(ending, this.#alarm.starved);
      if (exit !== undefined) return exit;
      const next = await this.#unlessEnded(this.#serving.start());
      if (typeof next === 'string') return next === 'stop' ? 0 : violationExit;
      pair = next;
    }
  }

  /** Once everything has started, publishes the token, then the presence, and then prints that the server is ready. */
  async #publish(pair: RolePair): Promise<void> {
    const { state, startedAt, listener, unix, model } = this.#resources;
    state.publishToken(this.#tokens.personal);
    this.#isPublished = true;
    this.#sendIntake();
    // The gateway must know that the server is ready before any client can.
    await Promise.race([pair.sync(), pair.ended]);
    state.publishPresence({
      pid: process.pid,
      port: listener.port,
      socket: unix?.path ?? null,
      model: model.name,
      startedAt: new Date(startedAt).toISOString(),
      witness: makeWitness(state.folder, fs.fstatSync(listener.fd).ino),
    });
    state.log.write({ code: 'SERVER_READY', pid: process.pid });
    console.log(
      startText({
        version,
        model: model.name,
        port: listener.port,
        seconds: processAge(fs.readFileSync('/proc/self/stat', 'latin1'), fs.readFileSync('/proc/uptime', 'latin1')),
        layers: this.#status.layers(),
        headerPath: state.headerPath,
        tokenPath: state.tokenPath,
        socketPath: unix?.path,
        state: state.folder === defaultStateDirectory(process.env) ? undefined : state.folder,
        token: process.stdout.isTTY ? this.#tokens.personal : undefined,
      }),
    );
  }

  /** Shuts the server down. Every wait is bounded, and no failure here hides the reason for the shutdown. */
  async #shutDown(failure: unknown): Promise<void> {
    const { state, unix } = this.#resources;
    const { violated } = this.#alarm;
    this.#probe.stop();
    this.#tokens.stop();
    if (!violated) this.#serving.pair?.kill();
    await attempt(() => within(this.#serving.pair?.ended, endMs + (violated ? wipeMs : 0)), failure);
    await attempt(() => within(this.#alarm.stop(), endMs));
    await attempt(() => this.#recorded);
    this.#budget.close();
    await attempt(() => {
      state.withdrawPresence();
    });
    await attempt(() => {
      state.withdrawToken();
    });
    await attempt(() => unix?.remove());
  }

  /** Waits for `work`, or for a signal or a violation if that comes first. */
  async #unlessEnded<T>(work: Promise<T>): Promise<T | 'stop' | 'violated'> {
    return await Promise.race([work, this.#stop, this.#alarm.raised.then((): 'violated' => 'violated')]);
  }

  /** Handles the events of the alarm and of the roles. */
  #connect(): void {
    const { state } = this.#resources;
    this.#alarm.on('violation', (violation, words) => {
      // A slow or full disk must not keep a conversation alive: the violation is recorded after the roles have ended.
      const ended = this.#serving.pair?.wipe().catch(() => undefined);
      this.#recorded = within(ended, recordMs).then(() => {
        state.recordViolation(violation, words);
      });
    });
    this.#alarm.on('level', () => {
      if (this.#alarm.admitted) this.#sendIntake();
    });
    this.#alarm.on('paused', () => {
      this.#serving.pair?.cutTurns();
      this.#sendIntake();
    });
    this.#alarm.on('resumed', () => {
      this.#sendIntake();
    });
    announce(this.#alarm, this.#budget, state.log);
    this.#serving.on('changed', () => {
      this.#watch(this.#serving.pair);
      if (this.#serving.ready) this.#sendIntake();
    });
    this.#serving.on('late', (role, ms, cut) => {
      this.#alarm.late(role, ms, cut);
    });
    this.#serving.on('wrongTokens', (pid, count) => {
      this.#budget.wrongTokens(pid, count);
    });
  }

  /** Tells the watchdog which processes belong to the server. */
  #watch(pair: RolePair | undefined): void {
    const processes = pair === undefined ? [] : processesOf(pair, this.#serving.ready);
    void this.#alarm.watch(processes, this.#resources.watched());
  }

  /**
   * Returns the state sent to the gateway: whether new conversations may begin, and whether the token and the engine
   * are ready.
   */
  #intake(): { open: boolean; ready: boolean } {
    return { open: this.#isPublished && this.#alarm.open, ready: this.#isPublished && this.#serving.ready };
  }

  #sendIntake(): void {
    this.#serving.pair?.gateway.control.send(controlMessages.intake, encodeJson(this.#intake()));
  }
}

/**
 * Serves until the server shuts down; `main.ts` has already verified the tree. Returns the exit code.
 * @throws KwyreError if the server refuses to start
 */
export async function supervise(args: readonly string[], handover: Handover): Promise<number> {
  assertOwnProgram(handover);
  const config = parseServe(args);
  checkWaivers(config.accepted);
  return await new Server(config, handover, await openResources(config, handover)).run();
}
