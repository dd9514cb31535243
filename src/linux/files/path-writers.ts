/**
 * Determines which users can write a path. Used for the launcher, Node, the program, packages, models, trust files and
 * state.
 *
 * Promise: finds every user other than root who can change what the path resolves to. It considers the owner, group,
 *          other and access-list permissions of the file, of every folder above it, and of each symbolic link on the
 *          way and its target, as well as the users who serve FUSE file systems. In a sticky folder, only the owners of
 *          the folder and of the entry can replace the entry.
 * Limits:  group members are read from /etc/passwd and /etc/group; other account sources and the servers of network
 *          file systems are not considered. A read-only mount is no protection: the file system may be writable
 *          elsewhere.
 * Source:  path_resolution(7), acl(5), mountinfo in proc(5)
 * Proof:   test/unit/linux/path-writers.test.ts, test/attacks/3-system.test.ts, test/attacks/3-tree.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import { dirname } from 'node:path';
import type { AccessList } from './acl.ts';
import { readAccessList } from './acl.ts';
import { parseMounts } from '../procfs/mountinfo.ts';

/** The `node:fs` functions that are used here. */
export type WritersDisk = Pick<typeof fs, 'lstatSync' | 'readlinkSync' | 'readFileSync'>;

/** Write access that a user other than root has. */
export type Grant = {
  /** The file or folder that can be written. */
  readonly path: string;
  readonly by: 'owner' | 'group' | 'everybody' | 'listed user' | 'listed group' | 'file system';
  /** Id of the user or group; 0 for `everybody`. */
  readonly id: number;
};

/** Grants sorted by holder, from the point of view of one user. */
export type Writers = {
  /** Held by that user, unless it is root. */
  readonly own: readonly Grant[];
  /** Held by groups without another known member. */
  readonly groups: readonly Grant[];
  /** Held by other users. */
  readonly others: readonly Grant[];
};

const groupBit = 0o020;
const everybodyBit = 0o002;
const stickyBit = 0o1000;
/** The kernel's limit on symbolic links in one path. */
const mostLinks = 40;

type Facts = Pick<fs.Stats, 'uid' | 'gid' | 'mode' | 'isSymbolicLink'>;

/**
 * Returns the grants on one file or folder.
 * @param above - whether this is a folder in which only one existing entry matters
 */
export function grantsOf(
  path: string,
  facts: Facts,
  above: boolean,
  readList: (path: string) => AccessList | undefined = readAccessList,
): Grant[] {
  const grants: Grant[] = facts.uid === 0 ? [] : [{ path, by: 'owner', id: facts.uid }];
  if (facts.isSymbolicLink() || (above && (facts.mode & stickyBit) !== 0)) return grants;
  if ((facts.mode & groupBit) !== 0) {
    const list = readList(path);
    if (list?.owningGroup !== false) grants.push({ path, by: 'group', id: facts.gid });
    for (const { kind, id } of list?.listed ?? [])
      if (kind === 'group' || id !== 0) grants.push({ path, by: `listed ${kind}`, id });
  }
  if ((facts.mode & everybodyBit) !== 0) grants.push({ path, by: 'everybody', id: 0 });
  return grants;
}

/** Returns the grants on all paths. A user who can write a folder can create a file that is missing from it. */
export function writersOf(disk: WritersDisk, paths: readonly string[]): Grant[] {
  const seen = new Map<string, { readonly facts: fs.Stats | undefined; above: boolean }>();
  const look = (path: string, above: boolean): fs.Stats | undefined => {
    const known = seen.get(path);
    if (known !== undefined) {
      known.above &&= above;
      return known.facts;
    }
    const facts = disk.lstatSync(path, { throwIfNoEntry: false });
    seen.set(path, { facts, above });
    return facts;
  };
  const ends = new Set<string>();
  for (const path of paths) {
    const pending = path.split('/').filter((part) => part !== '' && part !== '.');
    let current = '/';
    let links = 0;
    look(current, pending.length > 0);
    for (let part = pending.shift(); part !== undefined; part = pending.shift()) {
      if (part === '..') {
        current = dirname(current);
        continue;
      }
      const next = current === '/' ? `/${part}` : `${current}/${part}`;
      const facts = look(next, pending.length > 0);
      if (facts === undefined) {
        look(current, false); // the sticky bit does not protect an entry that does not exist
        break;
      }
      if (facts.isSymbolicLink()) {
        links += 1;
        if (links > mostLinks) break;
        const target = disk.readlinkSync(next, 'utf8');
        if (target.startsWith('/')) current = '/';
        pending.unshift(...target.split('/').filter((name) => name !== '' && name !== '.'));
      } else current = next;
    }
    ends.add(current);
  }
  const grants = [...seen].flatMap(([path, { facts, above }]) =>
    facts === undefined ? [] : grantsOf(path, facts, above),
  );
  return [...grants, ...servedGrants(disk, ends)];
}

/**
 * Returns the grants on FUSE file systems: the user who serves one controls its content, whatever owners and modes it
 * shows.
 */
function servedGrants(disk: Pick<typeof fs, 'readFileSync'>, paths: Iterable<string>): Grant[] {
  let table: string;
  try {
    table = disk.readFileSync('/proc/self/mountinfo', 'latin1');
  } catch {
    return []; // Kwyre does not start without /proc
  }
  if (!table.includes(' - fuse')) return [];
  // Outer mounts first. The sort is stable, so of two mounts at the same path the later one covers the other.
  const mounts = parseMounts(table).sort((a, b) => a.point.length - b.point.length);
  const found = new Map<string, Grant>();
  for (const path of paths) {
    const shown = Buffer.from(path, 'utf8').toString('latin1');
    const mount = mounts.findLast(({ point }) => point === '/' || shown === point || shown.startsWith(`${point}/`));
    if (mount?.fuseUser !== undefined && mount.fuseUser !== 0)
      found.set(mount.point, {
        path: Buffer.from(mount.point, 'latin1').toString('utf8'),
        by: 'file system',
        id: mount.fuseUser,
      });
  }
  return [...found.values()];
}

/** Returns the user ids in each group, from the local account files; no entry for a group that they do not list. */
function readMembers(disk: Pick<typeof fs, 'readFileSync'>): ReadonlyMap<number, ReadonlySet<number>> {
  const lines = (path: string): string[][] => {
    try {
      return disk
        .readFileSync(path, 'utf8')
        .split('\n')
        .map((line) => line.split(':'));
    } catch {
      return [];
    }
  };
  const users = lines('/etc/passwd').filter((fields) => fields.length > 3);
  const byName = new Map(users.map(([name = '', , uid]) => [name, Number(uid)]));
  const members = new Map<number, Set<number>>();
  const join = (gid: number, uid: number): void => {
    members.set(gid, (members.get(gid) ?? new Set()).add(uid));
  };
  for (const [, , uid, gid] of users) join(Number(gid), Number(uid));
  for (const [, , gid, names = ''] of lines('/etc/group'))
    for (const name of names.split(',')) if (byName.has(name)) join(Number(gid), byName.get(name) ?? 0);
  return members;
}

/** Sorts grants by holder, from the point of view of the user `uid`. */
export function sortWriters(grants: readonly Grant[], uid: number, disk: Pick<typeof fs, 'readFileSync'>): Writers {
  const own: Grant[] = [];
  const groups: Grant[] = [];
  const others: Grant[] = [];
  let members: ReturnType<typeof readMembers> | undefined;
  for (const grant of grants) {
    if (grant.by === 'everybody') others.push(grant);
    else if (grant.by === 'group' || grant.by === 'listed group') {
      members ??= readMembers(disk);
      const known = members.get(grant.id) ?? new Set();
      ([...known].some((member) => member !== 0 && member !== uid) ? others : groups).push(grant);
    } else if (grant.id === uid) own.push(grant);
    else others.push(grant);
  }
  return { own, groups, others };
}

/** Returns a grant in words, without its path. */
export function describeGrant({ by, id }: Grant): string {
  switch (by) {
    case 'owner':
      return `owned by user ${id}`;
    case 'group':
      return `writable by group ${id}`;
    case 'everybody':
      return 'world-writable';
    case 'listed user':
      return `writable by user ${id} through an access list`;
    case 'listed group':
      return `writable by group ${id} through an access list`;
    case 'file system':
      return `on a file system that user ${id} serves`;
  }
}

/** Quotes a path for a shell. */
function quote(path: string): string {
  return /^[A-Za-z0-9_./@:+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

const revocations: Readonly<Record<Grant['by'], string>> = {
  owner: 'chown -h root:root',
  group: 'chmod g-w',
  everybody: 'chmod o-w',
  'listed user': 'setfacl -b',
  'listed group': 'setfacl -b',
  'file system': 'move the installation away from',
};

/** Returns the shell commands that revoke these grants, one for each kind, with at most `most` paths each. */
export function mendingOf(grants: readonly Grant[], most = 8): string {
  const byCommand = new Map<string, Set<string>>();
  for (const { by, path } of grants)
    byCommand.set(revocations[by], (byCommand.get(revocations[by]) ?? new Set()).add(quote(path)));
  return [...byCommand]
    .map(([command, paths]) => {
      const more = paths.size > most ? ` (and ${paths.size - most} more)` : '';
      return `${command} ${[...paths].slice(0, most).join(' ')}${more}`;
    })
    .join('; ');
}
