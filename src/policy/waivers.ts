/**
 * The protections that an operator may waive by name (`--accept-weaker`), and those that nobody may waive. Data only.
 * @module
 */
import type { Feature, Row } from './role-policy.ts';
import { strictFeatures } from './shared-rights.ts';

/**
 * Protections without which no promise could be kept. The first four are features; the others are names that users
 * might try.
 */
export const neverWaived: readonly Row[] = [
  ['seccomp-start', 'the seccomp filter is the only barrier that every machine has'],
  ['seccomp-seal', 'the seccomp filter is the only barrier that every machine has'],
  ['no-new-privs', 'the kernel requires it for a seccomp filter, and without it execve can regain privileges'],
  ['not-dumpable', 'without it, any program of the same user could read conversations'],
  ['seccomp', 'the seccomp filter is the only barrier that every machine has'],
  ['bind', 'the address is fixed at 127.0.0.1'],
  ['model', 'Kwyre serves only approved models: ./kwyre model add'],
];

/** Every other feature of a role's jail. */
export const waivable: readonly Feature[] = (Object.keys(strictFeatures) as Feature[]).filter(
  (feature) => !neverWaived.some(([name]) => name === feature),
);
