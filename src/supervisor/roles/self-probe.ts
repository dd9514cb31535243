/**
 * The self-probe of layer 2. Before the server is ready, and every minute after that, a short-lived process in a role's
 * jail tries to escape. Each lock is also tested on its own, and the state of the running roles is read from the
 * kernel.
 *
 * Promise: if a probe escapes, the start fails; in a running server an escape is a violation that ends the server.
 *          Anything that could not be tested degrades the layer, with a reason; it never counts as blocked.
 * Proof:   test/attacks/2-probe.test.ts, test/e2e/lifecycle.test.ts
 * @module
 */
import type { JailInput } from '../../layers/2-isolation/jail/confine.ts';
import { KwyreError } from '../../base/errors.ts';
import type { Check } from '../../base/verdict.ts';
import type { EgressAttempt } from '../../layers/2-isolation/probe/egress-attempts.ts';
import { egressAttempts } from '../../layers/2-isolation/probe/egress-attempts.ts';
import type { ProbeTargets } from '../../layers/2-isolation/probe/probe-request.ts';
import { blockedAlone, describeAnswer, locks } from '../../layers/2-isolation/probe/probe-verdict.ts';
import type { Lock } from '../../layers/2-isolation/probe/probe-verdict.ts';
import { probeRole } from '../../layers/2-isolation/probe/probe-runner.ts';
import type { ProbePrograms, ProbeResult, ProbeScope } from '../../layers/2-isolation/probe/probe-runner.ts';
import { livingCheck } from '../../layers/2-isolation/status.ts';
import { closedPort, machineAddress } from '../../linux/procfs/unused-address.ts';
import type { Role } from '../../policy/roles.ts';

/** Options of the self-probe. */
type SelfProbeOptions = {
  readonly programs: ProbePrograms;
  readonly jail: (role: Role) => JailInput;
  /** Returns the server's own port, which to a role is just another service on loopback. */
  readonly ownPort: () => number;
  /** Reads one of the machine's network tables by name. */
  readonly readTable: (name: string) => string;
  /** Reads `status` of every thread of a running role; returns an empty array if the role has ended. */
  readonly readThreads: (role: Role) => readonly string[];
  /** Returns the number of filters that a running role inherited. */
  readonly inherited: (role: Role) => number;
  readonly now: () => number;
  /** Called when a probe escaped while the server was running. */
  readonly onEscape: (result: ProbeResult) => void;
  /**
   * Called when every lock has been tested on its own. Until then this process must not install a filter, because
   * probes would inherit it.
   */
  readonly onLocksTried: () => void;
};

const intervalMs = 60_000;
/**
 * Delay between the start and the tests of the other roles' jails, which are followed by a test of each lock on its
 * own. Locks are tested only once, since the kernel does not change during a run.
 */
const firstDelayMs = 1000;

/** The jails of the roles, which are tested in turn. */
const roleScopes: readonly [ProbeScope, ...ProbeScope[]] = [
  { role: 'gateway', alone: undefined },
  { role: 'engine', alone: undefined },
  { role: 'watchdog', alone: undefined },
];
/** Each lock on its own, in the jail of the gateway, which has an inherited socket. */
const lockScopes: readonly ProbeScope[] = (Object.keys(locks) as Lock[]).map((alone) => ({ role: 'gateway', alone }));

/** Describes the attempts by which a probe escaped. */
export function describeEscape({ scope, out, answers }: ProbeResult): string {
  const jail = scope.alone === undefined ? `the jail of the ${scope.role}` : `${scope.alone} alone`;
  const ways = out.map(
    (way) => `${egressAttempts[way as EgressAttempt].title} (${describeAnswer(answers.get(way) ?? 0)})`,
  );
  return `${jail} did not block ${ways.join(', ')}`;
}

const statuses = { blocked: 'enforced', escaped: 'degraded', failed: 'degraded', absent: 'off' } as const;

export class SelfProbe {
  readonly #options: SelfProbeOptions;
  readonly #results = new Map<string, { readonly result: ProbeResult; readonly at: number }>();
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #turns = 0;

  constructor(options: SelfProbeOptions) {
    this.#options = options;
  }

  /**
   * Tests the jail of the role that clients reach over the network; the other jails are tested a second later.
   * @throws `L2_PROBE_OUT`, `L2_PROBE_FAILED`
   */
  async start(): Promise<void> {
    const [first, ...others] = roleScopes;
    const result = await this.#probe(first);
    if (this.#isStopped()) return;
    if (result.status === 'escaped')
      throw new KwyreError(
        'L2_PROBE_OUT',
        `a probe escaped: ${describeEscape(result)}`,
        './kwyre prove shows every attempt; ./kwyre doctor shows what this machine can enforce',
      );
    if (result.status !== 'blocked')
      throw new KwyreError(
        'L2_PROBE_FAILED',
        `the jail of the ${first.role} could not be tested: ${result.reason}`,
        result.remedy === '' ? 'start again; ./kwyre doctor shows what this machine can enforce' : result.remedy,
      );
    this.#later(firstDelayMs, async () => {
      for (const scope of [...others, ...lockScopes]) await this.#retest(scope);
      if (!this.#isStopped()) this.#options.onLocksTried();
    });
  }

  /** Ends the probes, including one that is running. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  /** Returns the checks for layer 2's report. */
  checks(): readonly Check[] {
    const { readThreads, inherited } = this.#options;
    return [
      ...roleScopes.map((scope) => this.#check(`${scope.role}.self-probe`, scope)),
      ...lockScopes.map((scope) => this.#check(`${scope.alone ?? ''}.alone`, scope)),
      ...roleScopes.map(({ role }) => livingCheck(role, readThreads(role), inherited(role))),
    ];
  }

  #check(id: string, scope: ProbeScope): Check {
    const known = this.#results.get(key(scope));
    if (known === undefined)
      return {
        id,
        status: scope.alone === undefined ? 'degraded' : 'off',
        evidence: 'not tested yet in this run',
        at: this.#options.now(),
      };
    const { result, at } = known;
    const count = scope.alone === undefined ? Object.keys(egressAttempts).length : blockedAlone[scope.alone].length;
    const evidence =
      result.status === 'blocked'
        ? `${count} escape attempts in ${Math.round(result.tookMs)} ms, all blocked`
        : result.status === 'escaped'
          ? describeEscape(result)
          : result.reason;
    return { id, status: statuses[result.status], evidence, at };
  }

  #isStopped(): boolean {
    return this.#abort.signal.aborted;
  }

  #targets(): ProbeTargets {
    const { readTable, ownPort } = this.#options;
    return {
      machine: machineAddress(readTable('fib_trie')),
      closedPort: closedPort([readTable('tcp'), readTable('tcp6'), readTable('udp')]),
      servedPort: ownPort(),
    };
  }

  async #probe(scope: ProbeScope): Promise<ProbeResult> {
    const { programs, jail, now } = this.#options;
    const result = await probeRole(programs, scope, jail(scope.role), this.#targets(), this.#abort.signal);
    if (!this.#isStopped()) this.#results.set(key(scope), { result, at: now() });
    return result;
  }

  async #retest(scope: ProbeScope): Promise<void> {
    if (this.#isStopped()) return;
    const result = await this.#probe(scope);
    if (this.#isStopped() || result.status !== 'escaped') return;
    this.stop();
    this.#options.onEscape(result);
  }

  #later(ms: number, work: () => Promise<void>): void {
    if (this.#isStopped()) return;
    this.#timer = setTimeout(() => {
      void work().then(() => {
        this.#later(intervalMs, () => this.#next());
      });
    }, ms);
    this.#timer.unref();
  }

  async #next(): Promise<void> {
    const scope = roleScopes[this.#turns % roleScopes.length];
    this.#turns += 1;
    if (scope !== undefined) await this.#retest(scope);
  }
}

function key({ role, alone }: ProbeScope): string {
  return `${role} ${alone ?? 'all'}`;
}
