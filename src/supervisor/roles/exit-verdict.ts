/**
 * What the end of the roles means: a violation, a restart, or the end of the server.
 *
 * Promise: a death by SIGSYS and a breach of the wire end the server with exit code 16; a crash is answered by a fresh
 *          pair, at most three times an hour. An exit code that no role has is not printed: a role could choose it to
 *          leak text.
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

/** A crash loop is a fault to look into, or an attack. */
const restartLimit = { count: 3, windowMs: 3_600_000 } as const;

/** Exit codes that roles have: success, errors, V8, a refused module, a breach, silence of the supervisor. */
const roleExits: readonly number[] = [0, 1, 5, 7, 13, 70, lifelineExit];

export class ExitVerdict {
  readonly #state: ServerState;
  readonly #restarts = new RateLimit(restartLimit);

  constructor(state: ServerState) {
    this.#state = state;
  }

  /** Restarts in the last hour. */
  get restarts(): number {
    return this.#restarts.taken;
  }

  /**
   * Judges the end of a pair, records and prints it.
   * @param starved - whether the supervisor recently had no CPU time
   * @returns an exit code, or `undefined` when a fresh pair is to be started
   */
  judge(ending: PairEnding, starved: boolean): number | undefined {
    if (ending.kind === 'stopped') return 0;
    // Roles that ended because the supervisor had no CPU time met a busy machine, not an intruder.
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

/** The exit code of a role that served, if it is one that roles have. */
function describeExit(code: number | null): string {
  return code !== null && roleExits.includes(code) ? `exit ${code}` : 'an exit code that no role has';
}
