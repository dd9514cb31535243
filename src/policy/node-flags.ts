/**
 * Node's command-line flags. Kwyre's processes are started with no others.
 *
 * The launcher (`kwyre`) repeats `nodeFlags` in its shell script; a test compares the two. Data only.
 * Proof: test/unit/layers/3-runtime-check.test.ts, test/attacks/2-jail.test.ts
 * @module
 */

/**
 * Flags for every process: one thread for V8's background work instead of four, no ExperimentalWarning on standard
 * error, no debugger on SIGUSR1, no `__proto__`.
 */
export const nodeFlags = [
  '--v8-pool-size=1',
  '--disable-warning=ExperimentalWarning',
  '--disable-sigusr1',
  '--disable-proto=delete',
] as const;

/** Flags for a role: in addition, no code from strings, and freed JavaScript memory is overwritten. */
export const roleFlags = [...nodeFlags, '--disallow-code-generation-from-strings', '--clear-free-memory'] as const;
