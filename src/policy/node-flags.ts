/**
 * Node's command-line flags: the only ones that any process of Kwyre is started with.
 *
 * The launcher (`kwyre`) repeats `nodeFlags` in shell; a test compares the two. Data only.
 * Proof: test/unit/layers/3-runtime-check.test.ts, test/attacks/2-jail.test.ts
 * @module
 */

/** Flags of every process: no ExperimentalWarning on standard error, no debugger on SIGUSR1, no `__proto__`. */
export const nodeFlags = [
  '--disable-warning=ExperimentalWarning',
  '--disable-sigusr1',
  '--disable-proto=delete',
] as const;

/** Flags of a role: also no code from strings, and freed JavaScript memory is overwritten. */
export const roleFlags = [...nodeFlags, '--disallow-code-generation-from-strings', '--clear-free-memory'] as const;
