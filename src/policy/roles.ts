/**
 * All roles and their rights in one table. Start reading this folder here.
 * @module
 */
import { engine } from './engine-rights.ts';
import { gateway } from './gateway-rights.ts';
import type { Feature, Policy } from './role-policy.ts';
import { watchdog } from './watchdog-rights.ts';

export const roles = { gateway, engine, watchdog } as const satisfies Readonly<Record<string, Policy>>;
export type Role = keyof typeof roles;

/** Returns the features that a role requires to start. */
export function requiredOf(role: Role): Feature[] {
  const { features, without = [] }: Policy = roles[role];
  return (Object.keys(features) as Feature[]).filter(
    (feature) => features[feature] === 'required' && !without.some(([name]) => name === feature),
  );
}

/** Descriptors of the memfds that hold llama.cpp's libraries; they follow that of the foreign function interface. */
const engineLibraries = Array.from({ length: 23 }, (_, index) => 9 + index);

/**
 * Descriptors that a role inherits: 3 is the control edge; 4, the data edge or the watchdog's netlink socket; 5, the
 * gateway's listener or the engine's model; 6, the gateway's Unix listener or the engine's working set; 7, the load
 * list; 8, the foreign function interface. The engine's libraries and its secret memory follow.
 */
export const keptDescriptors: Readonly<Record<Role, readonly number[]>> = {
  gateway: [3, 4, 5, 6, 7, 8],
  engine: [3, 4, 5, 6, 7, 8, ...engineLibraries, 200],
  watchdog: [3, 4, 7, 8],
};

/** A role's whole environment, which makes glibc overwrite freed memory, including small blocks. */
export const roleEnvironment = { GLIBC_TUNABLES: 'glibc.malloc.perturb=165:glibc.malloc.tcache_count=0' } as const;
