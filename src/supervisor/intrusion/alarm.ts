/**
 * Layer 6 in a running server: what its watchdog is told, and what follows from what it sees.
 *
 * Promise: nothing is served before the first scan; a tool that is there already refuses the start with the list. A
 *          confirmed violation ends every process of ours, beginning in the tick in which it is known: the engine is
 *          told to
 *          overwrite its keys and contents, and is killed if it has not ended 150 ms later. Only then the violation is
 *          logged (metadata only), and the marker keeps the server from coming back in this boot; what cannot be
 *          written is said,
 *          and changes neither the end nor its exit code.
 * Proof:   test/attacks/6-serve.test.ts, test/attacks/x-disk.test.ts
 * @module
 */
import { fstatSync } from 'node:fs';
import { uptime } from 'node:os';
import { KwyreError } from '../../base/errors.ts';
import type { Check, Enforcement } from '../../base/verdict.ts';
import type { Finding } from '../../layers/6-intrusion/finding.ts';
import type { Profile, Assessment, Violation } from '../../layers/6-intrusion/escalation.ts';
import type { Target } from '../../layers/6-intrusion/scan-result.ts';
import type { FileStamp } from '../../layers/6-intrusion/detectors/weights-file.ts';
import { detectAllWeights } from '../../layers/6-intrusion/detectors/weights-file.ts';
import { monotonicMs, runnableOf } from '../../linux/clocks.ts';
import { makeDiagSocket } from '../../linux/sockets/sock-diag.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { leaseHolds } from '../../linux/files/file-lease.ts';
import { asShown } from '../../linux/procfs/escaped-path.ts';
import { makeSocketPair } from '../../linux/sockets/socket.ts';
import { requiredOf } from '../../policy/roles.ts';
import type { EventLog } from '../../state/event-log.ts';
import type { LoadDescriptors, JailInput, Role } from '../roles/role-process.ts';
import { socketInodes } from '../../linux/procfs/descriptors.ts';
import { RoleProcess } from '../roles/role-process.ts';
import type { EventBudget } from './event-budget.ts';
import type { RolePair } from '../roles/role-pair.ts';
import { Watch, describe, namespaceOf } from './watchdog-client.ts';

/** What the alarm needs of the server. */
export type AlarmPlan = {
  readonly log: EventLog;
  /** What is written because the watchdog said so. */
  readonly ledger: EventBudget;
  /** Leaves the marker and says where; `undefined` when it can be written nowhere. */
  readonly mark: (violation: Violation) => string | undefined;
  readonly uid: number;
  readonly jail: JailInput;
  readonly intervalMs: number;
  readonly profile: Profile;
  readonly acknowledged: readonly string[];
  readonly listener: { readonly fd: number; readonly port: number };
  /** Processes in whose networks our sockets are: the supervisor, and where the listener lies. */
  readonly networks: readonly number[];
  readonly unixPath: string | undefined;
  readonly modelFds: readonly number[];
  readonly loads: LoadDescriptors;
  /**
   * What our processes may map as code: the libraries of the system that Node was found to need, and sealed memory by
   * its identity.
   */
  readonly code: readonly string[];
  readonly memory: readonly string[];
  /** Whether new conversations are taken has changed. */
  readonly setIntake: () => void;
  /** Cuts every running turn. */
  readonly cutTurns: () => void;
  /** Wipes every conversation and ends every process that holds one; settles when they are gone. */
  readonly endAll: () => Promise<unknown>;
};

/**
 * The socket by which the watchdog asks about Unix sockets; none where a service manager lets us make none, and there
 * is no Unix listener.
 */
export function diagSocket(): number[] {
  try {
    return [makeDiagSocket()];
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    return [];
  }
}

function stampOf(fd: number): FileStamp | undefined {
  try {
    const { size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
    return { size, modifiedNs: mtimeNs, changedNs: ctimeNs, leased: leaseHolds(fd) };
  } catch {
    return undefined;
  }
}

/** The watchdog's own jail, as it reported it: what it requires and did not report counts as missing. */
export function jailCheck(enforced: readonly Enforcement[], at: number): Check {
  const faults = requiredOf('watchdog').flatMap((feature) => {
    const entry = enforced.find((one) => one.feature === feature);
    if (entry === undefined) return [`${feature}: not reported`];
    return entry.status === 'full'
      ? []
      : [`${feature}: ${entry.observed}${entry.reason === '' ? '' : `, ${entry.reason}`}`];
  });
  const full = enforced.filter((entry) => entry.status === 'full').length;
  return {
    id: 'watchdog.jail',
    status: faults.length === 0 ? 'enforced' : 'degraded',
    evidence:
      faults.length === 0
        ? `its own process, jailed: ${full} of ${enforced.length} features in force, every required one among them`
        : faults.join('; '),
    at,
  };
}

/** The longest that a record waits for the end of what holds conversations. */
const endMs = 1000;

export class Alarm {
  /** Settles when a violation is confirmed; everything has been told to end by then. */
  readonly raised: Promise<Violation>;
  /** Settles when the last violation is logged and marked, as far as the disk let us. */
  recorded: Promise<void> = Promise.resolve();
  readonly #plan: AlarmPlan;
  readonly #watch: Watch;
  readonly #raised = Promise.withResolvers<Violation>();
  #admitted = false;
  #violated = false;

  constructor(plan: AlarmPlan) {
    this.#plan = plan;
    this.raised = this.#raised.promise;
    const loaded = plan.modelFds.map(stampOf);
    this.#watch = new Watch({
      start(table, onBreach) {
        const control = makeSocketPair();
        return new RoleProcess(
          'watchdog',
          plan.jail,
          [control[1], ...diagSocket()],
          control[0],
          new Set(),
          table,
          onBreach,
          plan.loads,
        );
      },
      clocks: () => ({ monotonic: monotonicMs(), boot: uptime() * 1000, runnable: runnableOf('self') }),
      now: () => Date.now(),
      runnableOf,
      self: () => ({
        role: 'supervisor',
        pid: process.pid,
        sealed: false,
        namespace: 'shared',
        sockets: socketInodes(process.pid),
      }),
      uid: plan.uid,
      intervalMs: plan.intervalMs,
      profile: plan.profile,
      acknowledged: plan.acknowledged,
      weights: () => detectAllWeights(loaded, plan.modelFds.map(stampOf), { pid: process.pid, uid: plan.uid }),
      onFinding: (finding, standing) => {
        this.#tell(finding, standing);
      },
      onLevel: (standing) => {
        this.#turn(standing);
      },
      onPaused: () => {
        plan.cutTurns();
        plan.setIntake();
      },
      onResumed: (seconds, noticed) => {
        plan.setIntake();
        // What a role said is not written anywhere: it could say it in a rhythm.
        if (noticed) plan.log.write({ code: 'MACHINE_PAUSED', count: seconds });
        if (noticed && this.#admitted)
          console.error(
            `kwyre: ${seconds === 0 ? 'the server' : 'the machine'} stood still${seconds === 0 ? '' : ` for ${seconds} s`}; running answers were cut, conversations between their turns are kept, and requests are taken again`,
          );
      },
      onViolation: (violation) => {
        this.raise(violation);
      },
    });
  }

  /** Whether new conversations are taken. */
  get open(): boolean {
    const { level } = this.#watch.standing;
    return this.#admitted && !this.#watch.paused && (level === 'clean' || level === 'detected');
  }

  /** Whether a violation was confirmed: everything ends by itself then. */
  get violated(): boolean {
    return this.#violated;
  }

  /** Whether the supervisor had no processor a moment ago. */
  get starved(): boolean {
    return this.#watch.starved;
  }

  /** A role says that it stood still. */
  late(role: Role, ms: number, cut: boolean): void {
    this.#watch.late(role, ms, cut);
  }

  get pid(): number {
    return this.#watch.pid;
  }

  /**
   * Says which processes are ours from now on; in the tick in which a pair was made, when it is ready, when it is gone.
   */
  follow(pair: RolePair | undefined, sealed: boolean): void {
    const { listener, networks, unixPath, code, memory } = this.#plan;
    const targets =
      pair === undefined
        ? []
        : (['gateway', 'engine'] as const).map((role): Target => ({
            role,
            pid: pair[role].pid,
            sealed,
            namespace: namespaceOf(pair.enforced[role], this.#plan.uid),
            sockets: pair[role].sockets,
          }));
    void this.#watch.observe(targets, {
      port: listener.port,
      listener: fstatSync(listener.fd).ino,
      networks,
      unixPath: asShown(unixPath ?? ''),
      code: code.map(asShown),
      memory,
    });
  }

  /**
   * Waits for the first scan, and refuses the start when it is not clean. @throws `L6_TOOLS_PRESENT`,
   * `L6_WATCHDOG_FAILED`
   */
  async admit(): Promise<void> {
    const { counted, yellow } = await this.#watch.first;
    const seen = [...counted, ...yellow];
    if (seen.length > 0) {
      const tools = [...new Set(seen.flatMap((finding) => (finding.tool === undefined ? [] : [finding.tool])))];
      const accept =
        counted.length === 0 && tools.length > 0
          ? `, or accept it for this run: ./kwyre serve ${tools.map((tool) => `--acknowledge-tool ${tool}`).join(' ')}`
          : '';
      throw new KwyreError(
        'L6_TOOLS_PRESENT',
        `somebody could look into the server:\n${seen.map((finding) => `    ${describe(finding)}`).join('\n')}`,
        `end it${accept}`,
      );
    }
    this.#admitted = true;
  }

  /** The checks of layer 6 for `/kwyre/status`. */
  get checks(): readonly Check[] {
    return [...this.#watch.report().checks, jailCheck(this.#watch.enforced, Date.now())];
  }

  /** A violation is certain, whoever saw it: ends everything, then logs it and leaves the marker. */
  raise(violation: Violation, words?: string): void {
    this.#violated = true;
    const ended = this.#plan.endAll().catch(() => undefined);
    this.#watch.kill();
    this.#raised.resolve(violation);
    // A disk that is slow, full or gone keeps nobody alive: what is written waits for what ends.
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => {
      late.resolve(undefined);
    }, endMs);
    this.recorded = Promise.race([ended, late.promise]).then(() => {
      clearTimeout(timer);
      confirm(this.#plan, violation, words);
    });
  }

  /** Lets the watchdog go without that being a violation. */
  async stop(): Promise<void> {
    await this.#watch.stop();
  }

  /** For the exit path, where nothing can be awaited. */
  kill(): void {
    this.#watch.kill();
  }

  #tell(finding: Finding, standing: Assessment): void {
    if (!this.#plan.ledger.seen(finding) || !this.#admitted) return;
    if (finding.detector === 'mappings' && finding.relation === 'stranger')
      console.error(
        `kwyre: watchdog: ${describe(finding)}\n  next: if that was an upgrade, start the server again to use it`,
      );
    if (finding.relation === 'stranger') return;
    const words = `kwyre: watchdog: ${describe(finding)}`;
    if (standing.counted.includes(finding))
      console.error(
        `${words}\n  ${standing.level === 'confirmed' ? 'that is confirmed' : `one more scan like this, in ${this.#plan.intervalMs / 1000} s, ends the server`}`,
      );
    else if (standing.yellow.includes(finding))
      console.error(
        `${words}\n  new conversations are refused until it is gone\n  next: end it; or start again with --acknowledge-tool ${finding.tool ?? ''}`,
      );
  }

  #turn(standing: Assessment): void {
    if (!this.#admitted) return;
    if (this.#plan.ledger.level(standing.level) && standing.level === 'clean')
      console.error('kwyre: watchdog: nothing is to be seen any more');
    this.#plan.setIntake();
  }
}

/** Logs a violation, leaves the marker and says how to go on; everything has been ended already. Never throws. */
export function confirm(plan: Pick<AlarmPlan, 'log' | 'mark'>, violation: Violation, words?: string): void {
  const { code, detector, pid, uid, name } = violation;
  plan.log.write({ code, detector, pid, uid, name });
  const stays =
    plan.mark(violation) === undefined
      ? 'nowhere could a marker be left, so that only the exit code 16 and these words say so'
      : 'the server does not come back by itself';
  console.error(
    `kwyre: ${code}: ${words ?? `${detector}, ${name} (pid ${pid}, uid ${uid})`}; every conversation was ended, and ${stays}\n  next: find out what that was; then start again: ./kwyre serve --acknowledge-violation`,
  );
}
