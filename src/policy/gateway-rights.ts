/**
 * Rights of the gateway: what every role needs to run (`runtime-calls.ts`), accepting connections on the inherited
 * listeners, and setting one socket option on connections. All other calls are refused.
 * @module
 */
import { conditions } from './conditional-calls.ts';
import { answered } from './forbidden-calls.ts';
import type { ConditionalRow, Policy } from './role-policy.ts';
import { runtimeCalls } from './runtime-calls.ts';
import { strictFeatures, systemExecute, systemRead } from './shared-rights.ts';

/** The descriptors of the loopback listener and the Unix listener. */
const listeners = [5, 6] as const;

const connections = [
  ...listeners.map(
    (is) =>
      ({
        call: 'accept4',
        action: 'allow',
        when: { argument: 0, is },
        reason: 'accepts connections on an inherited listener',
        others: 'local programs get an answer; layer 1 decides which programs',
      }) as const,
  ),
  {
    call: 'setsockopt',
    action: 'allow',
    when: [...listeners.map((not) => ({ argument: 0, not })), { argument: 1, is: 6 }, { argument: 2, is: 1 }],
    reason: 'TCP_NODELAY on connections',
    others: 'none: the listeners, which outlive this process, are excluded, and no allowed call renumbers them',
  },
] as const satisfies readonly ConditionalRow[];

export const gateway = {
  features: strictFeatures,
  limits: { openFiles: 2048 },
  read: systemRead,
  execute: systemExecute,
  answered: [
    ...answered,
    ['listen', 0, 'Node calls it on inherited sockets that already listen; it returns 0 without being executed'],
  ],
  forbidden: [],
  conditions: [...connections, ...conditions],
  calls: runtimeCalls,
} as const satisfies Policy;
