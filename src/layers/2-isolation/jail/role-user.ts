/**
 * The user that roles run as if root starts a server that is not installed, and the thread limit for a user with no
 * other processes.
 *
 * Promise: a transient uid is random, and no visible process has it. It is claimed with a kernel key, visible in all
 *          pid namespaces, so that concurrent servers get different uids.
 * Limits:  in a container that blocks kernel keys, uids are not claimed; the chance of a collision is then 1 in 137
 *          million.
 * Proof:   test/attacks/2-users.test.ts, test/attacks/2-threads.test.ts
 * @module
 */

/**
 * Unallocated uids: above the ranges of directory services (SSSD and FreeIPA end at 2,000,200,000) and containers
 * (systemd ends at 1,879,048,191), below systemd's range for foreign images (from 2,147,352,576) and the limit of a
 * signed 32-bit number.
 * @internal
 */
export const transientIds = { first: 2_010_000_000, end: 2_147_352_576 } as const;

/** Functions for picking a uid: drawing one in [first, end), checking whether a process has it, and claiming it. */
type UserIdSource = {
  readonly draw: (first: number, end: number) => number;
  readonly inUse: (uid: number) => boolean;
  readonly claim: (uid: number) => 'claimed' | 'taken' | 'unavailable';
};

const maxDraws = 64;

/**
 * Picks a uid for the lifetime of this process. The watchdog's uid differs from the other roles' uid, so that they
 * cannot signal it.
 * @returns `undefined` if every uid that was drawn is in use
 */
export function pickUserId({ draw, inUse, claim }: UserIdSource): number | undefined {
  for (let tries = 0; tries < maxDraws; tries += 1) {
    const uid = draw(transientIds.first, transientIds.end);
    if (!inUse(uid) && claim(uid) !== 'taken') return uid;
  }
  return undefined;
}

export type Identity = { readonly uid: number; readonly gid: number };

/** Owner and mode of a path. */
type PathFacts = { readonly uid: number; readonly gid: number; readonly mode: number };

/** Returns a path and all folders above it, from the root down. */
function ancestors(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return ['/', ...parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)];
}

function mayRead(who: Identity, facts: PathFacts, bit: 1 | 4): boolean {
  const shift = facts.uid === who.uid ? 6 : facts.gid === who.gid ? 3 : 0;
  return ((facts.mode >> shift) & bit) === bit;
}

/** Returns whether a user can reach and read a path, according to the permission bits. @internal */
export function canRead(who: Identity, path: string, stat: (path: string) => PathFacts): boolean {
  return ancestors(path).every((step) => mayRead(who, stat(step), step === path ? 4 : 1));
}

/**
 * Chooses the transient uid or, if that uid cannot read the paths, the program folder's owner unless that is root.
 * @param paths - paths that the roles must be able to read
 * @returns `undefined` if neither can read the paths; the roles then run as root without capabilities and report it
 */
export function chooseIdentity(
  drawn: number | undefined,
  paths: readonly string[],
  stat: (path: string) => PathFacts,
): Identity | undefined {
  const transient = drawn === undefined ? [] : [{ uid: drawn, gid: drawn }];
  const owners = paths
    .map((path) => stat(path))
    .filter((facts) => facts.uid !== 0)
    .map(({ uid, gid }) => ({ uid, gid }));
  return [...transient, ...owners].find((who) => paths.every((path) => canRead(who, path, stat)));
}

/** Returns whether a uid is in the transient range. */
export function isTransientUser(uid: number): boolean {
  return uid >= transientIds.first && uid < transientIds.end;
}

/** Twice the threads of five Node processes: gateway, engine, watchdog, supervisor and probe have about 11 each. */
const imageThreads = 128;

/**
 * Returns the thread limit for a user with no other processes: twice what is needed, because Node hangs if it cannot
 * start a thread. Other users get no limit, because the kernel would count all their processes.
 */
export function taskLimit(
  become: Identity | undefined,
  installed: boolean,
  cores: number,
  engineThreads: number,
): { readonly tasks?: number } {
  const own = installed || (become !== undefined && isTransientUser(become.uid));
  return own ? { tasks: imageThreads + 3 * Math.max(cores, engineThreads) } : {};
}
