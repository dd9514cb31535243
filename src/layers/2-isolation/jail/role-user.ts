/**
 * As whom the roles run when root starts an uninstalled server: never as root, where that is possible; and how many
 * threads a user may have who is ours alone.
 *
 * Promise: a transient id is drawn at random, no process that can be seen has it, and it is claimed in a register that
 *          all pid namespaces share: servers beside one another have different ones.
 * Limits:  where a container refuses keys there is no register; then chance alone keeps two apart (1 in 137 million).
 * Proof:   test/attacks/2-users.test.ts, test/attacks/2-threads.test.ts
 * @module
 */

/**
 * Ids that nobody gives out: above the ranges of directories (SSSD's and FreeIPA's end at 2,000,200,000) and of
 * containers (systemd's at 1,879,048,191), below systemd's foreign images (from 2,147,352,576) and what a signed number
 * cannot hold.
 */
export const transientIds = { first: 2_010_000_000, end: 2_147_352_576 } as const;

/** What choosing an id needs: a number in [first, end), whether anybody has it, and a claim to it. */
export type UserIdSource = {
  readonly draw: (first: number, end: number) => number;
  readonly inUse: (uid: number) => boolean;
  readonly claim: (uid: number) => 'claimed' | 'taken' | 'unavailable';
};

const mostDraws = 64;

/**
 * An id for the life of this process; one for the roles and another for the watchdog, so that a role cannot touch it.
 * `undefined` when all that were drawn are somebody's.
 */
export function pickUserId({ draw, inUse, claim }: UserIdSource): number | undefined {
  for (let tries = 0; tries < mostDraws; tries += 1) {
    const uid = draw(transientIds.first, transientIds.end);
    if (!inUse(uid) && claim(uid) !== 'taken') return uid;
  }
  return undefined;
}

export type Identity = { readonly uid: number; readonly gid: number };

/** What `stat` says of a path. */
export type PathFacts = { readonly uid: number; readonly gid: number; readonly mode: number };

/** A path and all folders above it, from the root down. */
export function ancestors(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return ['/', ...parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)];
}

function mayRead(who: Identity, facts: PathFacts, bit: 1 | 4): boolean {
  const shift = facts.uid === who.uid ? 6 : facts.gid === who.gid ? 3 : 0;
  return ((facts.mode >> shift) & bit) === bit;
}

/** Whether somebody can reach and read a path, by its permission bits. */
export function canRead(who: Identity, path: string, stat: (path: string) => PathFacts): boolean {
  return ancestors(path).every((step) => mayRead(who, stat(step), step === path ? 4 : 1));
}

/**
 * The id that was drawn for this start, else the owner of the program's folder when that is not root.
 * @returns `undefined` when neither can read what the roles need; they then run as root without capabilities, and say
 * so.
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

/** Whether an id is one of ours, which nobody else has. */
export function isTransientUser(uid: number): boolean {
  return uid >= transientIds.first && uid < transientIds.end;
}

/**
 * Threads of five Node images (gateway, engine, watchdog, supervisor, probe: 11 each once they are warm), and the same
 * again.
 */
const imageThreads = 128;

/**
 * How many threads all processes of a user of ours may have: twice what they need, since one more than fits makes Node
 * hang. Every other user has none: the kernel would count all that they run.
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
