/**
 * Keeps ignoring the signals that were ignored when Kwyre was started (`nohup`, a background job of a script).
 *
 * Node resets every inherited disposition before it runs JavaScript, so the launcher passes the kernel's mask in an
 * environment variable.
 *
 * Limits: until this process runs its first line of JavaScript, such a signal still terminates it.
 * Source: signal(7), proc_pid_status(5)
 * Proof:  test/unit/linux/ignored-signals.test.ts, test/e2e/lifecycle.test.ts
 * @module
 */

/** The variable in which the launcher passes `SigIgn` of `/proc/PID/status`, in hexadecimal. */
export const ignoredVariable = 'KWYRE_IGNORED_SIGNALS';

/** Signals that a user or a service manager may send, with their numbers on x86-64 and arm64. */
const numbers = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGUSR2: 12, SIGALRM: 14, SIGTERM: 15, SIGTSTP: 20 } as const;
type IgnorableSignal = keyof typeof numbers;

/** Returns the signals in a mask; none if the text is not a mask. */
export function ignoredIn(mask: string | undefined): ReadonlySet<IgnorableSignal> {
  if (mask === undefined || !/^[0-9a-f]{1,16}$/.test(mask)) return new Set();
  const bits = BigInt(`0x${mask}`);
  return new Set(
    (Object.keys(numbers) as IgnorableSignal[]).filter((signal) => (bits & (1n << BigInt(numbers[signal] - 1))) !== 0n),
  );
}

/** Ignores the signals that were ignored when the launcher was started, and returns them. */
export function ignoreAgain(self: {
  readonly env: Readonly<Record<string, string | undefined>>;
  on(signal: IgnorableSignal, listener: () => void): unknown;
}): ReadonlySet<IgnorableSignal> {
  const signals = ignoredIn(self.env[ignoredVariable]);
  for (const signal of signals) self.on(signal, () => undefined);
  return signals;
}
