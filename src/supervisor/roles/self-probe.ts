/**
 * The self-probe of layer 2: before the server is ready, and every minute after, a throw-away child in one role's own
 * jail tries to get out; each lock also by itself, and the living roles by what the kernel says of them.
 *
 * Promise: a way out refuses the start, and in a running server it is a violation that ends it. What could not be
 *          probed degrades the layer and says why; it is never taken for held.
 * Proof:   test/attacks/2-probe.test.ts, test/e2e/lifecycle.test.ts
 * @module
 */
import { statusField } from '../../linux/procfs/task-status.ts';
import { KwyreError } from '../../base/errors.ts';
import type { Check } from '../../base/verdict.ts';
import type { EgressAttempt } from '../../layers/2-isolation/probe/egress-attempts.ts';
import { egressAttempts } from '../../layers/2-isolation/probe/egress-attempts.ts';
import type { ProbeTargets } from '../../layers/2-isolation/probe/probe-request.ts';
import { describeAnswer, blockedAlone, locks } from '../../layers/2-isolation/probe/probe-verdict.ts';
import type { Lock } from '../../layers/2-isolation/probe/probe-verdict.ts';
import { probeRole } from '../../layers/2-isolation/probe/probe-runner.ts';
import type { ProbeScope, ProbeJail, ProbePrograms, ProbeResult } from '../../layers/2-isolation/probe/probe-runner.ts';
import { closedPort, machineAddress } from '../../linux/procfs/unused-address.ts';
import type { ChildRole } from './role-process.ts';

/** What the probe is given. */
export type SelfProbeOptions = {
  readonly programs: ProbePrograms;
  readonly jail: (role: ChildRole) => ProbeJail;
  /** The port of our own listener: another service of loopback, from a role's view. */
  readonly ownPort: () => number;
  /** A table of the machine's network, by its name. */
  readonly readTable: (name: string) => string;
  /** `status` of every thread of the living role; none when it is not there. */
  readonly readThreads: (role: ChildRole) => readonly string[];
  /** How many filters the living role was started with: this process's own at that time. */
  readonly inherited: (role: ChildRole) => number;
  readonly now: () => number;
  /** Something got out of a running server. */
  readonly onEscape: (result: ProbeResult) => void;
  /** Every lock was tried alone: from now on this process may put on one of its own, which children inherit. */
  readonly onLocksTried: () => void;
};

const everyMs = 60_000;
/** Soon after the start: the other roles, then each lock alone, once, for the kernel does not change in one run. */
const restMs = 1000;

/**
 * Every goal in the order of the turns: the roles, and the locks alone (in the gateway's jail, which has an inherited
 * socket).
 */
export const probeGoals: {
  readonly roles: readonly [ProbeScope, ...ProbeScope[]];
  readonly alone: readonly ProbeScope[];
} = {
  roles: [
    { role: 'gateway', alone: undefined },
    { role: 'engine', alone: undefined },
    { role: 'watchdog', alone: undefined },
  ],
  alone: (Object.keys(locks) as Lock[]).map((alone) => ({ role: 'gateway', alone })),
};

const titleOf = (id: string): string => egressAttempts[id as EgressAttempt].title;

/** What got out, in words. */
export function describeEscape({ scope, out, answers }: ProbeResult): string {
  const who = scope.alone === undefined ? `the jail of the ${scope.role}` : `${scope.alone} alone`;
  return `${who} did not hold ${out.map((way) => `${titleOf(way)} (${describeAnswer(answers.get(way) ?? 0)})`).join(', ')}`;
}

/** What a role puts on itself: the filter of its start, and the seal. */
const ownFilters = 2;

/**
 * What the kernel says of every thread of a living role: no_new_privs, and its filters besides those that it was
 * started with.
 */
export function livingCheck(role: ChildRole, threads: readonly string[], inherited: number, at: number): Check {
  const id = `${role}.living`;
  if (threads.length === 0) return { id, status: 'degraded', evidence: 'the process is not there', at };
  const lines = (name: string): string[] => [...new Set(threads.map((text) => statusField(text, name)))];
  const [seccomp, filters, privs] = [lines('Seccomp'), lines('Seccomp_filters'), lines('NoNewPrivs')];
  // Before Linux 5.9 the kernel does not count them.
  const enough = filters.every((count) => count === '' || Number(count) >= inherited + ownFilters);
  const whole = seccomp.join() === '2' && privs.join() === '1' && enough;
  return {
    id,
    status: whole ? 'enforced' : 'degraded',
    evidence: `/proc/PID/task of ${threads.length} threads now: Seccomp ${seccomp.join(' and ')}, ${filters.map((count) => (count === '' ? 'uncounted' : count)).join(' and ')} filters, NoNewPrivs ${privs.join(' and ')}`,
    at,
  };
}

const statuses = { blocked: 'enforced', escaped: 'degraded', failed: 'degraded', absent: 'off' } as const;

export class SelfProbe {
  readonly #plan: SelfProbeOptions;
  readonly #results = new Map<string, { readonly result: ProbeResult; readonly at: number }>();
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #turn = 0;

  constructor(plan: SelfProbeOptions) {
    this.#plan = plan;
  }

  /**
   * Probes the jail of the role that the network reaches; the others follow at once. @throws `L2_PROBE_OUT`,
   * `L2_PROBE_FAILED`
   */
  async start(): Promise<void> {
    const [first, ...others] = probeGoals.roles;
    const result = await this.#probe(first);
    if (this.#over()) return;
    if (result.status === 'escaped')
      throw new KwyreError(
        'L2_PROBE_OUT',
        `a trial process got out: ${describeEscape(result)}`,
        './kwyre prove shows every attempt; ./kwyre doctor says what this machine can enforce',
      );
    if (result.status !== 'blocked')
      throw new KwyreError(
        'L2_PROBE_FAILED',
        `the jail of the ${first.role} could not be tried: ${result.reason}`,
        result.remedy === '' ? 'start again; ./kwyre doctor says what this machine can enforce' : result.remedy,
      );
    this.#later(restMs, async () => {
      for (const goal of [...others, ...probeGoals.alone]) await this.#look(goal);
      if (!this.#over()) this.#plan.onLocksTried();
    });
  }

  /** Ends what runs. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  /** The checks of layer 2 that come from here. */
  checks(): readonly Check[] {
    const { now, readThreads, inherited } = this.#plan;
    return [
      ...probeGoals.roles.map((goal) => this.#check(`${goal.role}.self-probe`, goal)),
      ...probeGoals.alone.map((goal) => this.#check(`${goal.alone ?? ''}.alone`, goal)),
      ...probeGoals.roles.map(({ role }) => livingCheck(role, readThreads(role), inherited(role), now())),
    ];
  }

  #check(id: string, goal: ProbeScope): Check {
    const known = this.#results.get(key(goal));
    if (known === undefined)
      return {
        id,
        status: goal.alone === undefined ? 'degraded' : 'off',
        evidence: 'not tried yet in this run',
        at: this.#plan.now(),
      };
    const { result, at } = known;
    const count = goal.alone === undefined ? Object.keys(egressAttempts).length : blockedAlone[goal.alone].length;
    const evidence =
      result.status === 'blocked'
        ? `${count} ways out tried in ${Math.round(result.tookMs)} ms, all held`
        : result.status === 'escaped'
          ? describeEscape(result)
          : result.reason;
    return { id, status: statuses[result.status], evidence, at };
  }

  #over(): boolean {
    return this.#abort.signal.aborted;
  }

  #aim(): ProbeTargets {
    const { readTable, ownPort } = this.#plan;
    return {
      machine: machineAddress(readTable('fib_trie')),
      closedPort: closedPort([readTable('tcp'), readTable('tcp6'), readTable('udp')]),
      servedPort: ownPort(),
    };
  }

  async #probe(goal: ProbeScope): Promise<ProbeResult> {
    const { programs, jail, now } = this.#plan;
    const result = await probeRole(programs, goal, jail(goal.role), this.#aim(), this.#abort.signal);
    if (!this.#over()) this.#results.set(key(goal), { result, at: now() });
    return result;
  }

  async #look(goal: ProbeScope): Promise<void> {
    if (this.#over()) return;
    const result = await this.#probe(goal);
    if (this.#over() || result.status !== 'escaped') return;
    this.stop();
    this.#plan.onEscape(result);
  }

  #later(ms: number, work: () => Promise<void>): void {
    if (this.#over()) return;
    this.#timer = setTimeout(() => {
      void work().then(() => {
        this.#later(everyMs, () => this.#next());
      });
    }, ms);
    this.#timer.unref();
  }

  async #next(): Promise<void> {
    const turn = this.#turn;
    this.#turn += 1;
    const goal = probeGoals.roles[turn % probeGoals.roles.length];
    if (goal !== undefined) await this.#look(goal);
  }
}

function key({ role, alone }: ProbeScope): string {
  return `${role} ${alone ?? 'all'}`;
}
