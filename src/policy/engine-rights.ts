/**
 * Rights of the engine: memory, threads, two channels and the model's descriptor. It accepts no connections.
 * @module
 */
import { conditions } from './conditional-calls.ts';
import { answered } from './forbidden-calls.ts';
import type { Policy } from './role-policy.ts';
import { runtimeCalls } from './runtime-calls.ts';
import { strictFeatures, systemExecute, systemRead } from './shared-rights.ts';

export const engine = {
  features: strictFeatures,
  limits: { openFiles: 256 },
  secretMemory: [16_384 * 32, 'keys of conversations'],
  read: systemRead,
  execute: systemExecute,
  answered,
  forbidden: [['accept4', 'the engine has no listener']],
  conditions,
  calls: runtimeCalls,
} as const satisfies Policy;
