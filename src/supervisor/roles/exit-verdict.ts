/**
 * Decides what happens after a role has ended: a violation, a restart, or the end of the server.
 *
 * Promise: if a role dies from SIGSYS or breaches the wire protocol, the server ends with exit code 16. After a crash,
 *          a fresh pair is started, at most three times an hour. An exit code that no role uses is not printed, because
 *          a role could choose it to leak text.
 * Proof:   test/e2e/lifecycle.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import { join } from 'node:path';
import { immediateViolations } from '../../layers/6-intrusion/escalation.ts';
import { eventsFile } from '../../state/event-log.ts';
import { lifelineExit } from '../../wire/lifeline.ts';
import { RateLimit } from '../rate-limit.ts';
import type { ServerState } from '../server-state.ts';
import type { Breach, PairEnding } from './pair-ending.ts';
import { supervisorStopped } from './pair-ending.ts';

/** A crash loop is a bug that needs attention, or an attack. */
const restartLimit = { count: 3, windowMs: 3_600_000 } as const;

/** Exit codes that roles use: success, errors, V8, a refused module, a breach, silence of the supervisor. */
const roleExits: readonly number[] = [0, 1, 5, 7, 13, 70, lifelineExit];

export class ExitVerdict {
  readonly #state: ServerState;
  readonly #restarts = new RateLimit(restartLimit);

  constructor(state: ServerState) {
    this.#state = state;
  }

  /** Number of restarts in the last hour. */
  get restarts(): number {
    return this.#restarts.taken;
  }

  /**
   * Decides what happens after a pair has ended, and records and prints the decision.
   * @param starved - whether the supervisor recently had no CPU time
   * @returns an exit code, or `undefined` if a fresh pair is to be started
   */
  judge(ending: PairEnding, starved: boolean): number | undefined {
    if (ending.kind === 'stopped') return 0;
    // If roles ended because the supervisor had no CPU time, the machine was busy; that is not an intrusion.
    if (ending.kind === 'breach' && !(starved && ending.reason === supervisorStopped)) {
      this.#recordBreach(ending);
      return 16;
    }
    const signal = ending.kind === 'crash' ? ending.signal : null;
    this.#state.log.write({
      code: ending.kind === 'crash' ? 'PAIR_CRASHED' : 'PAIR_STARVED',
      role: ending.role,
      ...(signal === null ? {} : { signal }),
    });
    if (!this.#restarts.take(performance.now())) {
      console.error(
        `kwyre: the ${ending.role} crashed more than ${restartLimit.count} times in an hour; the server stops\n` +
          `  next: try another model or a smaller --ctx; see ${join(this.#state.folder, eventsFile)}`,
      );
      return 1;
    }
    const reason = ending.kind === 'crash' ? (signal ?? describeExit(ending.code)) : 'the machine was too busy';
    console.error(
      `kwyre: the ${ending.role} ended (${reason}); its conversations are gone; ` +
        `starting again (${this.#restarts.taken} of ${restartLimit.count} this hour)`,
    );
    return undefined;
  }

  #recordBreach({ role, pid, reason }: Breach): void {
    if (reason === supervisorStopped)
      this.#state.recordViolation({
        code: immediateViolations.supervisorStopped,
        detector: 'clock',
        pid: process.pid,
        uid: -1,
        name: 'kwyre supervisor',
      });
    else
      this.#state.recordViolation(
        {
          code: reason === 'SIGSYS' ? immediateViolations.kernelKill : immediateViolations.wireBreach,
          detector: 'jail',
          pid,
          uid: -1,
          name: `kwyre ${role}`,
        },
        `the ${role} (pid ${pid}) broke its rules (${reason})`,
      );
  }
}

/** Describes the exit code of a role that served; the number is included only if roles use it. */
function describeExit(code: number | null): string {
  return code !== null && roleExits.includes(code) ? `exit ${code}` : 'an unexpected exit code';
}
