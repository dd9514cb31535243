/**
 * Which protections an operator may give up by name (`--accept-weaker`), and which never. Data only.
 * @module
 */
import type { Feature, Row } from './role-policy.ts';
import { strictFeatures } from './shared-rights.ts';

/** Without these the promise itself is gone; the first three are features, the others what people would ask for. */
export const neverWaived: readonly Row[] = [
  ['seccomp-start', 'the filter is the wall that every machine has'],
  ['seccomp-seal', 'the filter is the wall that every machine has'],
  ['no-new-privs', 'without it a filter cannot be put on, and another program brings rights back'],
  ['not-dumpable', 'any program of the same user could read conversations'],
  ['seccomp', 'the filter is the wall that every machine has'],
  ['bind', 'the address is a literal; there is no other'],
  ['model', 'nothing is served that nobody approved: ./kwyre model add'],
];

/** Everything else that a role's jail has. */
export const waivable: readonly Feature[] = (Object.keys(strictFeatures) as Feature[]).filter(
  (feature) => !neverWaived.some(([name]) => name === feature),
);
