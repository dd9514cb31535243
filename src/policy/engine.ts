/**
 * Rights of the engine: memory, threads, its two channels, and the model's descriptor. It accepts no connection.
 * @module
 */
import type { Policy } from './policy.ts';
import { conditions, runtimeCalls, strictFeatures, systemExecute, systemRead } from './shared.ts';

export const engine = {
  features: strictFeatures,
  limits: { openFiles: 256 },
  secretMemory: [16_384 * 32, 'the keys of conversations'],
  read: systemRead,
  execute: systemExecute,
  conditions: [...conditions, { call: 'accept4', action: 'kill', when: { argument: 0, mask: 0, is: 0 }, reason: 'the engine has no listener' }],
  calls: runtimeCalls,
} as const satisfies Policy;
