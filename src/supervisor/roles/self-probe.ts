/**
 * The self-probe of layer 2: before the server is ready, and every minute after, a short-lived process in the jail of a
 * role tries to get out. Each lock is also tested alone, and the kernel is asked about the running roles.
 *
 * Promise: an escape refuses the start, and in a running server it is a violation that ends it. What could not be
 *          tested degrades the layer and says why; it never counts as blocked.
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

/** What the self-probe is made from. */
type SelfProbeOptions = {
  readonly programs: ProbePrograms;
  readonly jail: (role: Role) => JailInput;
  /** The server's own port: another service on loopback, as a role sees it. */
  readonly ownPort: () => number;
  /** Reads a table of the machine's network by its name. */
  readonly readTable: (name: string) => string;
  /** Reads `status` of every thread of a running role; none when it has ended. */
  readonly readThreads: (role: Role) => readonly string[];
  /** How many filters a running role was started under. */
  readonly inherited: (role: Role) => number;
  readonly now: () => number;
  /** A probe escaped while the server runs. */
  readonly onEscape: (result: ProbeResult) => void;
  /** Every lock was tested alone: from now on this process may install a filter, which later probes would inherit. */
  readonly onLocksTried: () => void;
};

const intervalMs = 60_000;
/** Soon after the start: the other roles, then each lock alone, once, since the kernel does not change in one run. */
const firstDelayMs = 1000;

/** The jails of the roles, in turn. */
const roleScopes: readonly [ProbeScope, ...ProbeScope[]] = [
  { role: 'gateway', alone: undefined },
  { role: 'engine', alone: undefined },
  { role: 'watchdog', alone: undefined },
];
/** Each lock alone, in the jail of the gateway, which has an inherited socket. */
const lockScopes: readonly ProbeScope[] = (Object.keys(locks) as Lock[]).map((alone) => ({ role: 'gateway', alone }));

/** Describes what a probe could do. */
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
   * Tests the jail of the role that the network reaches; the others follow a second later. @throws `L2_PROBE_OUT`,
   * `L2_PROBE_FAILED`
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

  /** Ends the probes, also the one that is running. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  /** Checks for the report of layer 2. */
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
