/**
 * Rights of the gateway: it accepts on the inherited socket, reads, writes and closes connections, and nothing else.
 * @module
 */
import type { Policy } from './policy.ts';
import { conditions, runtimeCalls, strictFeatures, systemExecute, systemRead } from './shared.ts';

export const gateway = {
  features: strictFeatures,
  limits: { openFiles: 2048 },
  read: systemRead,
  execute: systemExecute,
  conditions,
  calls: [...runtimeCalls, ['accept4', 'connections on the inherited socket'], ['accept', 'connections on the inherited socket'], ['listen', 'Node calls it on the inherited socket']],
} as const satisfies Policy;
