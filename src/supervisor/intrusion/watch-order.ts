/**
 * The watch order, which tells the watchdog which processes belong to the server. Orders are numbered so that a scan of
 * processes that have since been replaced can be recognized.
 *
 * Proof: test/unit/supervisor/watch-order.test.ts
 * @module
 */
import type { Enforcement } from '../../base/verdict.ts';
import type { Target, Watched } from '../../layers/6-intrusion/scan-result.ts';
import { socketInodes } from '../../linux/procfs/descriptors.ts';
import type { WatchdogProcess } from './watchdog-process.ts';

/** A process of the server, with the enforcement that its jail reported. */
export type WatchedProcess = Omit<Target, 'namespace'> & { readonly enforced: readonly Enforcement[] };

/**
 * Returns which kind of network namespace a role is in. If root starts the server, each role has its own. A namespace
 * created by a service manager also contains the supervisor. @internal
 */
export function namespaceOf(enforced: readonly Enforcement[], uid: number): Target['namespace'] {
  return uid === 0 && enforced.some((entry) => entry.feature === 'network-namespace' && entry.status === 'full')
    ? 'own'
    : 'shared';
}

export class WatchOrder {
  readonly #watchdog: WatchdogProcess;
  readonly #uid: number;
  #watched: Omit<Watched, 'targets'> | undefined;
  #processes: readonly Target[] = [];
  #epoch = -1;
  #roles: ReadonlyMap<number, string> = new Map();

  constructor(watchdog: WatchdogProcess, uid: number) {
    this.#watchdog = watchdog;
    this.#uid = uid;
  }

  /** The number of the last order, or -1 before the first one. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Roles by pid, for the names in findings. */
  get roles(): ReadonlyMap<number, string> {
    return this.#roles;
  }

  /** The processes, other than the supervisor, that report when they were late. */
  get otherRoles(): readonly string[] {
    return [...new Set(['watchdog', ...this.#processes.map(({ role }) => role)])];
  }

  /** Replaces the order and sends it. */
  set(processes: readonly WatchedProcess[], watched: Omit<Watched, 'targets'>): void {
    this.#processes = processes.map(({ enforced, ...target }) => ({
      ...target,
      namespace: namespaceOf(enforced, this.#uid),
    }));
    this.#watched = watched;
    this.#epoch += 1;
    this.send();
  }

  /** Sends the order again to request an immediate scan. */
  send(): void {
    if (this.#watched === undefined) return;
    const supervisor: Target = {
      role: 'supervisor',
      pid: process.pid,
      sealed: false,
      namespace: 'shared',
      sockets: socketInodes(process.pid),
    };
    const watchdog: Target = {
      role: 'watchdog',
      pid: this.#watchdog.pid,
      sealed: true,
      namespace: namespaceOf(this.#watchdog.enforced, this.#uid),
      sockets: this.#watchdog.sockets,
    };
    const targets = [supervisor, watchdog, ...this.#processes];
    this.#roles = new Map(targets.map(({ pid, role }) => [pid, role]));
    this.#watchdog.watch(this.#epoch, { ...this.#watched, targets });
  }
}
