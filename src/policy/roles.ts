/**
 * The roles and their rights, in one table. Read this folder first.
 * @module
 */
import { engine } from './engine-rights.ts';
import { gateway } from './gateway-rights.ts';
import type { Feature, Policy } from './role-policy.ts';
import { watchdog } from './watchdog-rights.ts';

export const roles = { gateway, engine, watchdog } as const satisfies Readonly<Record<string, Policy>>;
export type Role = keyof typeof roles;

/** The features without which a role does not start. */
export function requiredOf(role: Role): Feature[] {
  const { features, without = [] }: Policy = roles[role];
  return (Object.keys(features) as Feature[]).filter(
    (feature) => features[feature] === 'required' && !without.some(([name]) => name === feature),
  );
}

/** llama.cpp's libraries in sealed memory, behind the foreign function interface. */
const engineLibraries = Array.from({ length: 23 }, (_, index) => 9 + index);

/**
 * Descriptors that survive into a role: control, data (the watchdog's questions about Unix sockets), listener or model,
 * the gateway's optional Unix listener or the engine's working set, the digests to load by, the foreign function
 * interface, the engine's libraries and secret memory.
 */
export const keptDescriptors: Readonly<Record<Role, readonly number[]>> = {
  gateway: [3, 4, 5, 6, 7, 8],
  engine: [3, 4, 5, 6, 7, 8, ...engineLibraries, 200],
  watchdog: [3, 4, 7, 8],
};

/** V8 and Node flags of a role's image. */
export const roleFlags = [
  '--disable-warning=ExperimentalWarning',
  '--disable-sigusr1',
  '--disable-proto=delete',
  '--disallow-code-generation-from-strings',
  '--clear-free-memory',
] as const;

/** The whole environment of a role: freed native memory is overwritten, small blocks too. */
export const roleEnvironment = { GLIBC_TUNABLES: 'glibc.malloc.perturb=165:glibc.malloc.tcache_count=0' } as const;
