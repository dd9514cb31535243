/**
 * Limits how many log lines per hour a jailed process can cause. Each line consists of literals and a few numbers.
 *
 * Promise: a compromised role cannot write the text of a conversation to the disk; `wire/covert-channels.ts` bounds the
 *          bits that each channel carries. Events beyond the limit are only counted, and the next line reports the
 *          count.
 * Proof:   test/unit/supervisor/event-budget.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import type { Assessment } from '../../layers/6-intrusion/escalation.ts';
import type { Finding } from '../../layers/6-intrusion/finding.ts';
import type { EventLog } from '../../state/event-log.ts';
import { linesPerHour } from '../../wire/covert-channels.ts';
import { RateLimit } from '../rate-limit.ts';

const hourMs = 3_600_000;
const maxCount = 1 << 20;

/** Rounds a count up to a power of two, at most 2^20, so that it carries few bits. @internal */
export function roundCount(count: number): number {
  return Math.min(maxCount, 2 ** Math.ceil(Math.log2(Math.max(1, count))));
}

type Kind = 'wrongTokens' | 'seen' | 'levels';
const overflowCodes = { seen: 'L6_SEEN_MORE', levels: 'L6_LEVELS_MORE' } as const;

export class EventBudget {
  readonly #log: Pick<EventLog, 'write'>;
  readonly #now: () => number;
  readonly #limits: Readonly<Record<Kind, RateLimit>> = {
    wrongTokens: new RateLimit({ count: linesPerHour.wrongTokens, windowMs: hourMs }),
    seen: new RateLimit({ count: linesPerHour.seen, windowMs: hourMs }),
    levels: new RateLimit({ count: linesPerHour.levels, windowMs: hourMs }),
  };
  /** Numbers of events that were counted but not yet logged. */
  readonly #pending: Record<Kind, number> = { wrongTokens: 0, seen: 0, levels: 0 };

  /** @param now - monotonic milliseconds */
  constructor(log: Pick<EventLog, 'write'>, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /** Records that the gateway counted wrong tokens. */
  wrongTokens(pid: number, count: number): void {
    this.#pending.wrongTokens += count;
    if (this.#limits.wrongTokens.take(this.#now())) this.#logWrongTokens(pid);
  }

  /** Records a new finding; returns `false` if it was only counted, in which case it must not be printed either. */
  finding({ detector, pid, uid, name }: Finding): boolean {
    if (!this.#take('seen')) return false;
    this.#log.write({ code: 'L6_SEEN', detector, pid, uid, name });
    return true;
  }

  /** Records a new level of layer 6; returns `false` as {@link finding} does. */
  level(level: Assessment['level']): boolean {
    if (!this.#take('levels')) return false;
    this.#log.write({ code: `L6_LEVEL_${level.toUpperCase()}` });
    return true;
  }

  /** Logs the remaining counts when the server ends. */
  close(): void {
    if (this.#pending.wrongTokens > 0) this.#logWrongTokens(0);
    this.#logOverflow('seen');
    this.#logOverflow('levels');
  }

  #take(kind: 'seen' | 'levels'): boolean {
    if (!this.#limits[kind].take(this.#now())) {
      this.#pending[kind] += 1;
      return false;
    }
    this.#logOverflow(kind);
    return true;
  }

  #logOverflow(kind: 'seen' | 'levels'): void {
    if (this.#pending[kind] === 0) return;
    this.#log.write({ code: overflowCodes[kind], count: roundCount(this.#pending[kind]) });
    this.#pending[kind] = 0;
  }

  #logWrongTokens(pid: number): void {
    this.#log.write({
      code: 'L1_TOKEN_WRONG',
      role: 'gateway',
      ...(pid === 0 ? {} : { pid }),
      count: roundCount(this.#pending.wrongTokens),
    });
    this.#pending.wrongTokens = 0;
  }
}
