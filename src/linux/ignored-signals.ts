/**
 * Signals that whoever started us had ignored (`nohup`, a background job of a script): they stay ignored.
 *
 * Node sets every inherited disposition back to the default before any code of ours runs, so that the launcher, which
 * still sees them, hands the kernel's mask on in a variable.
 *
 * Limits: until this process has come to its first line such a signal still ends it.
 * Source: signal(7), proc_pid_status(5)
 * Proof:  test/unit/linux/ignored-signals.test.ts, test/e2e/lifecycle.test.ts
 * @module
 */

/** Where the launcher puts `SigIgn` of `/proc/PID/status`, in hexadecimal. */
export const ignoredVariable = 'KWYRE_IGNORED_SIGNALS';

/** Signals that a person or a service manager sends, by their number on the Linux machines that we run on. */
const numbers = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGUSR2: 12, SIGALRM: 14, SIGTERM: 15, SIGTSTP: 20 } as const;
export type Respected = keyof typeof numbers;

/** The signals in a mask; none where it is no mask. */
export function ignoredIn(mask: string | undefined): ReadonlySet<Respected> {
  if (mask === undefined || !/^[0-9a-f]{1,16}$/.test(mask)) return new Set();
  const bits = BigInt(`0x${mask}`);
  return new Set(
    (Object.keys(numbers) as Respected[]).filter((signal) => (bits & (1n << BigInt(numbers[signal] - 1))) !== 0n),
  );
}

/** Ignores again what was ignored when the launcher was started. */
export function ignoreAgain(self: {
  readonly env: Readonly<Record<string, string | undefined>>;
  on(signal: Respected, listener: () => void): unknown;
}): ReadonlySet<Respected> {
  const signals = ignoredIn(self.env[ignoredVariable]);
  for (const signal of signals) self.on(signal, () => undefined);
  return signals;
}
