/**
 * A role exits if it receives no ping for five seconds. The supervisor sends one every second. While the supervisor is
 * stopped (by a debugger or SIGSTOP), it cannot react to the watchdog, so conversations must not stay in memory.
 *
 * The timeout is measured from the time at which the ping was sent, by CLOCK_MONOTONIC, which all processes share. A
 * ping that waited in the channel while the role was stopped therefore does not extend the role's life. A role that was
 * itself stopped and finds no recent ping cancels its running turns at once, accepts no new ones, and exits unless a
 * new ping arrives. So if all processes are suspended together (a frozen cgroup, a paused virtual machine), the server
 * continues afterwards without its running turns. Stopping the roles one after another exposes nothing. CLOCK_MONOTONIC
 * does not advance during a system suspend.
 *
 * Proof: test/unit/wire/lifeline.test.ts, test/attacks/6-serve.test.ts, test/attacks/6-pause.test.ts
 * @module
 */

/** Interval between the supervisor's pings. */
export const pingIntervalMs = 1000;
/** A role exits after this time without a ping. */
const pingTimeoutMs = 5000;
/** A check delayed by more than this is reported to the supervisor. */
const lateAfterMs = 1000;

/** The exit code of a role that received no ping. */
export const lifelineExit = 71;

/** The functions that the lifeline needs from the process. */
type LifelinePowers = {
  /** CLOCK_MONOTONIC in milliseconds. */
  readonly now: () => number;
  /** Calls back once everything waiting in the channels has been read. */
  readonly afterReading: (then: () => void) => void;
  /** Called if this process did not run for `lateMs`. `cut`: whether its turns were cancelled. */
  readonly onLate: (lateMs: number, cut: boolean) => void;
  /** Cancels every running turn and accepts no new ones. */
  readonly onPaused: () => void;
  readonly onLost: () => void;
};

export class Lifeline {
  readonly #powers: LifelinePowers;
  #timer: NodeJS.Timeout | undefined;
  /** Time at which the last ping was sent. */
  #lastPingAt = 0;
  #lastCheckAt = 0;
  /** Time at which a role that was stopped exits unless a ping arrives. It is not postponed before a new ping. */
  #graceEnds: number | undefined;
  #stopped = false;

  constructor(powers: LifelinePowers) {
    this.#powers = powers;
  }

  /** Records a ping that was sent at `sentAt`. The first ping starts the timeout. */
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

  /** Exits, or cancels turns, if the last ping is too old. Called once per second. */
  check(): void {
    const now = this.#powers.now();
    const lateMs = now - this.#lastCheckAt - pingIntervalMs;
    this.#lastCheckAt = now;
    if (lateMs <= lateAfterMs) {
      this.#exitIfTimedOut(now);
      return;
    }
    // First read the pings that have arrived in the meantime.
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
