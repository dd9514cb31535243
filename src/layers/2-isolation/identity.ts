/**
 * As whom the roles run when root starts an uninstalled server: never as root, where that is possible; and how many threads
 * a user may have who is ours alone.
 *
 * Proof: test/attacks/2-threads.test.ts
 * @module
 */

/** Ids that no distribution gives out; one per supervisor for its roles, and another for its watchdog. */
const firstTransient = 2_000_000_000;

/** Added to the supervisor's pid (below 2^22) for the watchdog, so that a role cannot touch it. */
export const watchdogIds = 1 << 23;

export type Identity = { readonly uid: number; readonly gid: number };

/** What `stat` says of a path. */
export type Facts = { readonly uid: number; readonly gid: number; readonly mode: number };

/** A path and all folders above it, from the root down. */
export function ancestors(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return ['/', ...parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)];
}

function mayRead(who: Identity, facts: Facts, bit: 1 | 4): boolean {
  const shift = facts.uid === who.uid ? 6 : facts.gid === who.gid ? 3 : 0;
  return ((facts.mode >> shift) & bit) === bit;
}

/** Whether somebody can reach and read a path, by its permission bits. */
export function canReach(who: Identity, path: string, stat: (path: string) => Facts): boolean {
  return ancestors(path).every((step) => mayRead(who, stat(step), step === path ? 4 : 1));
}

/**
 * A transient id of its own for this start, else the owner of the program's folder when that is not root.
 * @returns `undefined` when neither can read what the roles need; they then run as root without capabilities, and say so.
 */
export function chooseIdentity(pid: number, paths: readonly string[], stat: (path: string) => Facts): Identity | undefined {
  const transient = { uid: firstTransient + pid, gid: firstTransient + pid };
  const owners = paths.map((path) => stat(path)).filter((facts) => facts.uid !== 0).map(({ uid, gid }) => ({ uid, gid }));
  return [transient, ...owners].find((who) => paths.every((path) => canReach(who, path, stat)));
}

/** Whether an id is one of ours, which nobody else has. */
export function isTransient(uid: number): boolean {
  return uid >= firstTransient;
}

/** Threads of five Node images (gateway, engine, watchdog, supervisor, probe: 11 each once they are warm), and the same again. */
const imageThreads = 128;

/**
 * How many threads all processes of a user of ours may have: twice what they need, since one more than fits makes Node hang.
 * Every other user has none: the kernel would count all that they run.
 */
export function taskLimit(become: Identity | undefined, installed: boolean, cores: number, engineThreads: number): { readonly tasks?: number } {
  const own = installed || (become !== undefined && isTransient(become.uid));
  return own ? { tasks: imageThreads + 3 * Math.max(cores, engineThreads) } : {};
}
