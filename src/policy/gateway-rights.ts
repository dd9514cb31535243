/**
 * Rights of the gateway: it accepts on the inherited sockets, reads, writes and closes connections, and nothing else.
 * @module
 */
import type { ConditionalRow, Policy } from './role-policy.ts';
import { answered, conditions, runtimeCalls, strictFeatures, systemExecute, systemRead } from './shared-rights.ts';

/** Where its jail stage leaves the listener on loopback, and the one at a path. */
const listeners = [5, 6] as const;

const connections = [
  ...listeners.map(
    (is) =>
      ({
        call: 'accept4',
        action: 'allow',
        when: { argument: 0, is },
        reason: 'connections on an inherited listener',
        others: 'local programs are answered: what layer 1 is for',
      }) as const,
  ),
  {
    call: 'setsockopt',
    action: 'allow',
    when: [...listeners.map((not) => ({ argument: 0, not })), { argument: 1, is: 6 }, { argument: 2, is: 1 }],
    reason: 'TCP_NODELAY on connections',
    others: 'nothing: the listeners, which outlive this process, are left out, and no call gives them another number',
  },
] as const satisfies readonly ConditionalRow[];

export const gateway = {
  features: strictFeatures,
  limits: { openFiles: 2048 },
  read: systemRead,
  execute: systemExecute,
  answered: [
    ...answered,
    ['listen', 0, 'Node calls it on the inherited sockets, which listen already: it is not made'],
  ],
  forbidden: [],
  conditions: [...connections, ...conditions],
  calls: runtimeCalls,
} as const satisfies Policy;
