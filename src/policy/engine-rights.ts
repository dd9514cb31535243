/**
 * Rights of the engine: memory, threads, its two channels, and the model's descriptor. It accepts no connection.
 * @module
 */
import type { Policy } from './role-policy.ts';
import { answered, conditions, runtimeCalls, strictFeatures, systemExecute, systemRead } from './shared-rights.ts';

export const engine = {
  features: strictFeatures,
  limits: { openFiles: 256 },
  secretMemory: [16_384 * 32, 'the keys of conversations'],
  read: systemRead,
  execute: systemExecute,
  answered,
  forbidden: [['accept4', 'the engine has no listener']],
  conditions,
  calls: runtimeCalls,
} as const satisfies Policy;
