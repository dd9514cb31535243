/**
 * Who can change what runs: from the launcher and the folders above it to the last verified file.
 *
 * Promise: what somebody other than root and the user who runs it can change refuses the start; a layer that rests on
 *          this program is called enforced only where nobody but root can change any of it.
 * Trust:   `linux/files/path-writers.ts` answers for each path.
 * Proof:   test/unit/layers/3-tree-access.test.ts, test/attacks/3-system.test.ts, test/attacks/3-tree.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';
import type { Grant, Writers, WritersDisk } from '../../linux/files/path-writers.ts';
import { describeGrant, grantsOf, mendingOf, sortWriters, writersOf } from '../../linux/files/path-writers.ts';
import type * as fs from 'node:fs';
import type { FoundRights } from '../../oms/tree-reader.ts';
import { printable } from '../../oms/verification-error.ts';

/** What runs, at the root of an installation: what is sealed. Models have manifests of their own (layer 4). */
export const signedEntries = [
  '.npmrc',
  'dist',
  'kwyre',
  'node_modules',
  'package-lock.json',
  'package.json',
  'page',
  'src',
] as const;

/** The seal beside it, where the trust file is not root's own. */
export const signatureFolder = 'seal';

/** The calls that are needed, from `node:fs`. */
export type AccessDisk = WritersDisk & Pick<typeof fs, 'readdirSync'>;

/** Whose installation it is, as far as rights to write tell. */
export type Access = {
  /** Nobody but root can change what runs, and root is not who runs it. */
  readonly rootOnly: boolean;
  /** Otherwise why, and what would mend it. */
  readonly reason: string;
};

/** What is looked at. */
export type AccessInput = { readonly disk: AccessDisk; readonly root: string; readonly uid: number };

/** Folders of our own files: they are listed one by one, since no digest stands for them. */
const ownFolders = ['dist', 'page', 'src'] as const;

/** Grants on the way to the root of the installation, and on what lies in it. */
export function pathGrants({ disk, root }: AccessInput): Grant[] {
  return writersOf(disk, [root, ...[...signedEntries, signatureFolder].map((name) => `${root}/${name}`)]);
}

/** One of our own files or folders; its name is relative to the root. */
export type OwnEntry = { readonly name: string; readonly facts: fs.Stats };

/**
 * Our own files and folders, one by one; links and folders of modules, which are refused elsewhere, are not entered.
 */
export function listOwnFiles({ disk, root }: AccessInput): OwnEntry[] {
  const entries: OwnEntry[] = [];
  const visit = (folder: string): void => {
    for (const part of disk.readdirSync(`${root}/${folder}`)) {
      const name = `${folder}/${part}`;
      const facts = disk.lstatSync(`${root}/${name}`, { throwIfNoEntry: false });
      if (facts === undefined) continue; // gone meanwhile
      entries.push({ name, facts });
      if (facts.isDirectory() && part !== 'node_modules') visit(name);
    }
  };
  for (const name of ownFolders)
    if (disk.lstatSync(`${root}/${name}`, { throwIfNoEntry: false })?.isDirectory() === true) visit(name);
  return entries;
}

/** Those of our own files and folders that are neither: behind a link lies what nothing here looks at. */
export function irregularOwnFiles({ disk, root }: AccessInput, entries: readonly OwnEntry[]): string[] {
  const folders = ownFolders.filter(
    (name) => disk.lstatSync(`${root}/${name}`, { throwIfNoEntry: false })?.isDirectory() === false,
  );
  return [
    ...folders,
    ...entries.filter(({ facts }) => !facts.isDirectory() && !facts.isFile()).map(({ name }) => name),
  ];
}

/** Refuses links and devices among our own files. @throws `L3_OWN_LINKED` */
export function refuseIrregular(order: AccessInput, entries: readonly OwnEntry[]): void {
  const [first, ...more] = irregularOwnFiles(order, entries);
  if (first === undefined) return;
  const path = printable(`${order.root}/${first}`);
  const others = more.length > 0 ? `, and ${more.length} more` : '';
  throw new KwyreError(
    'L3_OWN_LINKED',
    `${path} is a symbolic link or no plain file or folder${others}: what lies behind it is not looked at`,
    `put the real file or folder in the place of ${path}, or install again`,
  );
}

/** Grants on our own files. */
export function ownGrants({ root }: Pick<AccessInput, 'root'>, entries: readonly OwnEntry[]): Grant[] {
  return entries.flatMap(({ name, facts }) => grantsOf(`${root}/${name}`, facts, false));
}

/** The grants behind what a walk over verified files found. */
export function foundGrants(top: string, found: FoundRights): Grant[] {
  const path = (name: string): string => (name === '' ? top : `${top}/${name}`);
  const asGroup = (gid: number) => ({ uid: 0, gid, mode: 0o020, isSymbolicLink: () => false });
  return [
    ...[...found.owners]
      .filter(([uid]) => uid !== 0)
      .map(([id, name]): Grant => ({ path: path(name), by: 'owner', id })),
    ...found.groupWritable.flatMap(({ name, gid }) => grantsOf(path(name), asGroup(gid), false)),
  ];
}

const shown = 6;

/** Refuses grants of anybody but root and the user who runs it. @throws `L3_OTHERS_WRITE` */
export function refuseOtherWriters(order: AccessInput, { others }: Writers): void {
  if (others.length === 0) return;
  const lines = others.slice(0, shown).map((grant) => `\n  ${printable(grant.path)} (${describeGrant(grant)})`);
  const more = others.length > shown ? `\n  and ${others.length - shown} more` : '';
  const whose = order.uid === 0 ? 'root' : `root and user ${order.uid}, who runs it`;
  throw new KwyreError(
    'L3_OTHERS_WRITE',
    `others than ${whose} can change what runs:${lines.join('')}${more}`,
    mendOf(order, others),
  );
}

/** One command for the whole tree where much of it is somebody's, else one for each path. */
function mendOf({ root, uid }: AccessInput, grants: readonly Grant[]): string {
  const inside = (grant: Grant): boolean =>
    grant.by === 'owner' && (grant.path === root || grant.path.startsWith(`${root}/`));
  const owned = grants.filter(inside);
  const rest = grants.filter((grant) => !inside(grant));
  const commands = [
    ...(owned.length > 0 ? [`chown -hR root:root ${printable(root)}`] : []),
    ...(rest.length > 0 ? [mendingOf(rest)] : []),
  ].join('; ');
  const instead =
    uid === 0 && owned.length > 0
      ? '; or run it as the user it belongs to, or install it where only root writes: ./kwyre isolate install'
      : '';
  return `as root: ${commands}${instead}`;
}

/** What the rights to write make of a verification by this program. */
export function judgeAccess(order: AccessInput, writers: Writers): Access {
  const foreign = writers.others[0] ?? writers.groups[0];
  if (foreign !== undefined)
    return {
      rootOnly: false,
      reason: `detect-only: ${printable(foreign.path)} can be changed by others than root (${describeGrant(foreign)}): ${mendingOf([foreign])}`,
    };
  if (order.uid === 0)
    return { rootOnly: false, reason: 'detect-only, same owner: root runs it, and root can change all of it' };
  const [own] = writers.own;
  if (own === undefined) return { rootOnly: true, reason: '' };
  return {
    rootOnly: false,
    reason: `detect-only, same owner: ${printable(own.path)} belongs to the user who runs it; a copy that only root can change: sudo ./kwyre isolate install`,
  };
}

/** Sorts the grants for the user who runs it. */
export function sortAccess(order: AccessInput, grants: readonly Grant[]): Writers {
  return sortWriters(grants, order.uid, order.disk);
}
