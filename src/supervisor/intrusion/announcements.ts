/**
 * Logs the alarm's events, within a budget, and prints them on the terminal.
 *
 * Proof: test/unit/supervisor/event-budget.test.ts, test/attacks/6-serve.test.ts
 * @module
 */
import type { Assessment } from '../../layers/6-intrusion/escalation.ts';
import type { Finding } from '../../layers/6-intrusion/finding.ts';
import { describeFinding } from '../../layers/6-intrusion/finding.ts';
import type { EventLog } from '../../state/event-log.ts';
import type { Alarm } from './alarm.ts';
import type { EventBudget } from './event-budget.ts';

/** Returns what to print about a new finding, or `undefined` to print nothing. */
function announcement(finding: Finding, assessment: Assessment, intervalMs: number): string | undefined {
  const words = `kwyre: watchdog: ${describeFinding(finding)}`;
  if (finding.relation === 'stranger')
    return finding.detector === 'mappings'
      ? `${words}\n  next: if that was an upgrade, start the server again to use it`
      : undefined;
  if (assessment.counted.includes(finding))
    return assessment.level === 'confirmed'
      ? `${words}\n  confirmed: the server ends`
      : `${words}\n  if the next scan, in ${intervalMs / 1000} s, finds it too, the server ends`;
  if (assessment.yellow.includes(finding))
    return [
      words,
      'new conversations are refused until it is gone',
      `next: end that program, or start again with --acknowledge-tool ${finding.tool ?? ''}`,
    ].join('\n  ');
  return undefined;
}

/** Logs and prints the events that an alarm emits from now on. Until the server is admitted, events are only logged. */
export function announce(alarm: Alarm, budget: EventBudget, log: Pick<EventLog, 'write'>): void {
  alarm.on('finding', (finding, assessment) => {
    if (!budget.finding(finding) || !alarm.admitted) return;
    const text = announcement(finding, assessment, alarm.intervalMs);
    if (text !== undefined) console.error(text);
  });
  alarm.on('level', ({ level }) => {
    if (alarm.admitted && budget.level(level) && level === 'clean')
      console.error('kwyre: watchdog: no threats detected');
  });
  alarm.on('resumed', (seconds, noticed) => {
    // A pause that only a role reported is not logged: the role could encode text in the rhythm of its pauses.
    if (!noticed) return;
    log.write({ code: 'MACHINE_PAUSED', count: seconds });
    if (alarm.admitted)
      console.error(
        `kwyre: the ${seconds === 0 ? 'server was paused' : `machine was paused for ${seconds} s`}; running answers ` +
          'were aborted, other conversations are kept, and new requests are accepted again',
      );
  });
}
