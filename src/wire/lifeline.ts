/**
 * A role exits when the supervisor's ping, sent once a second, fails to arrive for five seconds. Stopping the
 * supervisor (a debugger, SIGSTOP) disables the watchdog's response, and must not keep the conversations in memory.
 *
 * A ping counts from the time it was sent, by CLOCK_MONOTONIC, which all processes share: a ping that waited in the
 * channel while the role was stopped does not extend its life. A role that was stopped itself and finds no recent ping
 * cancels its running turns at once, accepts nothing more, and exits unless a new ping arrives. So a machine that was
 * suspended as a whole (a frozen cgroup, a paused virtual machine) continues without its running turns, and stopping
 * the roles in turn exposes nothing. CLOCK_MONOTONIC does not advance during a system suspend.
 *
 * Proof: test/unit/wire/lifeline.test.ts, test/attacks/6-serve.test.ts, test/attacks/6-pause.test.ts
 * @module
 */

/** Time between two pings of the supervisor. */
export const pingIntervalMs = 1000;
/** A role exits after this time without a ping. */
const pingTimeoutMs = 5000;
/** A check that is later than this is reported to the supervisor. */
const lateAfterMs = 1000;

/** The exit code of a role that received no ping. */
export const lifelineExit = 71;

/** What the lifeline needs from the process. */
type LifelinePowers = {
  /** CLOCK_MONOTONIC in milliseconds. */
  readonly now: () => number;
  /** Calls back after everything that waits in the channels has been read. */
  readonly afterReading: (then: () => void) => void;
  /** This process did not run for `lateMs`; `cut` says whether its turns were cancelled. */
  readonly onLate: (lateMs: number, cut: boolean) => void;
  /** Cancels every running turn and accepts no new ones. */
  readonly onPaused: () => void;
  readonly onLost: () => void;
};

export class Lifeline {
  readonly #powers: LifelinePowers;
  #timer: NodeJS.Timeout | undefined;
  /** When the last ping was sent. */
  #lastPingAt = 0;
  #lastCheckAt = 0;
  /** How long a stopped role waits for a ping. It gets no second grace period without one. */
  #graceEnds: number | undefined;
  #stopped = false;

  constructor(powers: LifelinePowers) {
    this.#powers = powers;
  }

  /** Records a ping sent at `sentAt`. The first one starts the timeout. */
  onPing(sentAt: number): void {
    const now = this.#powers.now();
    this.#lastPingAt = Math.max(this.#lastPingAt, Math.min(sentAt, now));
    if (now - this.#lastPingAt <= pingTimeoutMs) this.#graceEnds = undefined;
    if (this.#timer !== undefined) return;
    this.#lastCheckAt = now;
    this.#timer = setInterval(() => {
      this.check();
    }, pingIntervalMs);
  }

  /** Exits, or cancels turns, if the last ping is too old; called once a second. */
  check(): void {
    const now = this.#powers.now();
    const lateMs = now - this.#lastCheckAt - pingIntervalMs;
    this.#lastCheckAt = now;
    if (lateMs <= lateAfterMs) {
      this.#exitIfTimedOut(now);
      return;
    }
    // Read the pings that arrived meanwhile first.
    this.#powers.afterReading(() => {
      const cut = !this.#stopped && this.#graceEnds === undefined && this.#isTimedOut(this.#powers.now());
      if (cut) {
        this.#graceEnds = this.#powers.now() + pingTimeoutMs;
        this.#powers.onPaused();
      } else {
        this.#exitIfTimedOut(this.#powers.now());
      }
      if (!this.#stopped) this.#powers.onLate(lateMs, cut);
    });
  }

  /** Stops checking. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  #isTimedOut(now: number): boolean {
    return now - this.#lastPingAt > pingTimeoutMs;
  }

  #exitIfTimedOut(now: number): void {
    if (this.#stopped || !this.#isTimedOut(now) || (this.#graceEnds !== undefined && now <= this.#graceEnds)) return;
    this.stop();
    this.#powers.onLost();
  }
}
