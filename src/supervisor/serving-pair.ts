/**
 * The current pair of roles, which is restarted after a crash, and the facts kept about previous pairs.
 *
 * Proof: test/e2e/lifecycle.test.ts, test/attacks/5-remains.test.ts
 * @module
 */
import { EventEmitter } from 'node:events';
import type { EventLog } from '../state/event-log.ts';
import type { EngineFacts } from '../wire/control-payloads.ts';
import type { WatchedProcess } from './intrusion/watch-order.ts';
import { countFilters } from './proc-readings.ts';
import type { RolePairOptions } from './roles/role-pair.ts';
import { RolePair } from './roles/role-pair.ts';

type ServingPairEvents = {
  /** The processes changed: a pair was started, became ready, or ended. */
  changed: [];
  late: [role: 'gateway' | 'engine', ms: number, cut: boolean];
  wrongTokens: [pid: number, count: number];
};

export class ServingPair extends EventEmitter<ServingPairEvents> {
  readonly #log: Pick<EventLog, 'write'>;
  readonly #options: () => RolePairOptions;
  #pair: RolePair | undefined;
  #facts: EngineFacts | undefined;
  #isReady = false;
  #endedEngines = 0;
  #overwrittenBytes = 0;
  #inheritedFilters = countFilters();

  /** @param options - called at the start of each pair */
  constructor(log: Pick<EventLog, 'write'>, options: () => RolePairOptions) {
    super();
    this.#log = log;
    this.#options = options;
  }

  /** The last pair that was started. */
  get pair(): RolePair | undefined {
    return this.#pair;
  }

  /**
   * The facts that the engine reported when it became ready. While a new engine starts, this is the previous engine's
   * report.
   */
  get facts(): EngineFacts | undefined {
    return this.#facts;
  }

  /** Whether both roles of the last pair have reported that they are ready. */
  get ready(): boolean {
    return this.#isReady;
  }

  /** Number of engines that ended in this run, and number of bytes that were overwritten after they ended. */
  get ended(): { readonly endedEngines: number; readonly overwrittenBytes: number } {
    return { endedEngines: this.#endedEngines, overwrittenBytes: this.#overwrittenBytes };
  }

  /** Number of the supervisor's seccomp filters when the last pair was started; its roles inherited them. */
  get inheritedFilters(): number {
    return this.#inheritedFilters;
  }

  /** Starts a fresh pair and waits until it is ready. @throws what {@link RolePair.ready} throws */
  async start(): Promise<RolePair> {
    this.#inheritedFilters = countFilters();
    this.#isReady = false;
    const pair = new RolePair(this.#options());
    this.#pair = pair;
    pair.on('late', (role, ms, cut) => this.emit('late', role, ms, cut));
    pair.on('wrongTokens', (pid, count) => this.emit('wrongTokens', pid, count));
    pair.on('engineStuck', (pid) => {
      this.#log.write({ code: 'ENGINE_STOOD_STILL', role: 'engine', pid });
    });
    pair.on('wiped', (by, pid) => {
      this.#log.write({ code: by === 'engine' ? 'ENGINE_WIPED' : 'ENGINE_KILLED', role: 'engine', pid });
    });
    pair.on('overwritten', (bytes) => {
      this.#endedEngines += 1;
      this.#overwrittenBytes += bytes;
      this.#log.write({ code: 'WORKING_SET_OVERWRITTEN', role: 'engine', count: bytes });
    });
    this.emit('changed');
    this.#facts = await pair.ready;
    this.#isReady = true;
    this.emit('changed');
    return pair;
  }
}

/** Returns the processes of a pair for the watch order. @param sealed - whether its final filters must be in force */
export function processesOf(pair: RolePair, sealed: boolean): WatchedProcess[] {
  return (['gateway', 'engine'] as const).map((role) => ({
    role,
    pid: pair[role].pid,
    sealed,
    enforced: pair.enforced[role],
    sockets: pair[role].sockets,
  }));
}
