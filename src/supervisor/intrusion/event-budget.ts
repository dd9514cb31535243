/**
 * What is written down because a jailed process said so: so many lines an hour of each kind, of literals and few
 * numbers.
 *
 * Promise: a role that was taken over writes no words of a conversation to the disk: `wire/covert-channels.ts` has the
 *          bound of each way. What comes more often is counted, and the count stands in the next line.
 * Proof:   test/unit/supervisor/event-budget.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import type { Finding } from '../../layers/6-intrusion/finding.ts';
import type { Assessment } from '../../layers/6-intrusion/escalation.ts';
import type { EventLog } from '../../state/event-log.ts';
import { linesPerHour } from '../../wire/covert-channels.ts';
import { Allowance } from '../roles/restart-budget.ts';

const hourMs = 3_600_000;
const mostTold = 1 << 20;

/** A count as it is told: the next power of two. */
export function roundCount(count: number): number {
  return Math.min(mostTold, 2 ** Math.ceil(Math.log2(Math.max(1, count))));
}

type Kind = 'wrongTokens' | 'seen' | 'levels';

export class EventBudget {
  readonly #log: Pick<EventLog, 'write'>;
  readonly #now: () => number;
  readonly #allowances: Readonly<Record<Kind, Allowance>> = {
    wrongTokens: new Allowance({ count: linesPerHour.wrongTokens, windowMs: hourMs }),
    seen: new Allowance({ count: linesPerHour.seen, windowMs: hourMs }),
    levels: new Allowance({ count: linesPerHour.levels, windowMs: hourMs }),
  };
  readonly #untold: Record<Kind, number> = { wrongTokens: 0, seen: 0, levels: 0 };

  /** @param now - monotonic milliseconds */
  constructor(log: Pick<EventLog, 'write'>, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /** The gateway counted wrong tokens. */
  wrongTokens(pid: number, count: number): void {
    this.#untold.wrongTokens += count;
    if (this.#allowances.wrongTokens.take(this.#now())) this.#tellTokens(pid);
  }

  /** The watchdog saw something for the first time; `false` when it is counted only, and not to be said either. */
  seen({ detector, pid, uid, name }: Finding): boolean {
    if (!this.#take('seen', 'L6_SEEN_MORE')) return false;
    this.#log.write({ code: 'L6_SEEN', detector, pid, uid, name });
    return true;
  }

  /** The level of layer 6 changed; `false` as for {@link seen}. */
  level(level: Assessment['level']): boolean {
    if (!this.#take('levels', 'L6_LEVELS_MORE')) return false;
    this.#log.write({ code: `L6_LEVEL_${level.toUpperCase()}` });
    return true;
  }

  /** At the end of a server: what was counted and not told yet. */
  close(): void {
    if (this.#untold.wrongTokens > 0) this.#tellTokens(0);
    this.#tellMore('seen', 'L6_SEEN_MORE');
    this.#tellMore('levels', 'L6_LEVELS_MORE');
  }

  #take(kind: 'seen' | 'levels', more: string): boolean {
    if (!this.#allowances[kind].take(this.#now())) {
      this.#untold[kind] += 1;
      return false;
    }
    this.#tellMore(kind, more);
    return true;
  }

  #tellMore(kind: 'seen' | 'levels', code: string): void {
    if (this.#untold[kind] === 0) return;
    this.#log.write({ code, count: roundCount(this.#untold[kind]) });
    this.#untold[kind] = 0;
  }

  #tellTokens(pid: number): void {
    this.#log.write({
      code: 'L1_TOKEN_WRONG',
      role: 'gateway',
      ...(pid === 0 ? {} : { pid }),
      count: roundCount(this.#untold.wrongTokens),
    });
    this.#untold.wrongTokens = 0;
  }
}
