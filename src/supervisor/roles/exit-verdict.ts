/**
 * What the end of the roles means: a violation, another start, or the end of the server.
 *
 * Promise: a death by SIGSYS and a breach of the wire end everything with exit code 16; a crash is answered by a fresh
 *          pair, at most three times an hour. An exit code that no role has is not told: a role could choose it.
 * Proof:   test/e2e/lifecycle.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import { join } from 'node:path';
import { immediateViolations } from '../../layers/6-intrusion/escalation.ts';
import { eventsFile } from '../../state/event-log.ts';
import { lifelineExit } from '../../wire/lifeline.ts';
import { confirm } from '../intrusion/alarm.ts';
import type { PairEnding } from './role-pair.ts';
import { supervisorStopped } from './role-pair.ts';
import type { RestartBudget } from './restart-budget.ts';
import { restartLimit } from './restart-budget.ts';

/**
 * What roles end with: in order, by an error, by V8, by a module that is not the verified one, by a breach, by silence.
 */
const roleExits: readonly number[] = [0, 1, 5, 7, 13, 70, lifelineExit];

/** What the end of a pair means: an exit code, or `undefined` for another start. */
export function judgeEnding(
  ending: PairEnding,
  state: string,
  record: Parameters<typeof confirm>[0],
  budget: RestartBudget,
  starved: boolean,
): number | undefined {
  if (ending.kind === 'stopped') return 0;
  // Whoever waited in vain for the word of a process that had no processor met a busy machine, not an intruder.
  if (ending.kind === 'breach' && !(starved && ending.reason === supervisorStopped)) {
    if (ending.reason === supervisorStopped)
      confirm(record, {
        code: immediateViolations.supervisorStopped,
        detector: 'clock',
        pid: process.pid,
        uid: -1,
        name: 'kwyre supervisor',
      });
    else
      confirm(
        record,
        {
          code: ending.reason === 'SIGSYS' ? immediateViolations.kernelKill : immediateViolations.wireBreach,
          detector: 'jail',
          pid: ending.pid,
          uid: -1,
          name: `kwyre ${ending.role}`,
        },
        `the ${ending.role} (pid ${ending.pid}) did what it may not (${ending.reason})`,
      );
    return 16;
  }
  const signal = ending.kind === 'crash' ? ending.signal : null;
  record.log.write({
    code: ending.kind === 'crash' ? 'PAIR_CRASHED' : 'PAIR_STARVED',
    role: ending.role,
    ...(signal === null ? {} : { signal }),
  });
  if (!budget.take(performance.now())) {
    console.error(
      `kwyre: the ${ending.role} crashed more than ${restartLimit.count} times in an hour; the server ended\n  next: try another model or less --ctx; look at ${join(state, eventsFile)}`,
    );
    return 1;
  }
  console.error(
    `kwyre: the ${ending.role} ended (${ending.kind === 'crash' ? (signal ?? describeExit(ending.code)) : 'the machine was too busy'}); its conversations are gone, starting again (${budget.taken} of ${restartLimit.count} this hour)`,
  );
  return undefined;
}

/** The exit code of a role that ended while it served: one of those that it has, and no number of its own choice. */
function describeExit(code: number | null): string {
  return code !== null && roleExits.includes(code) ? `exit ${code}` : 'an exit code that none of our processes has';
}
