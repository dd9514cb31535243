/**
 * Determines which users can change the program: the launcher, the folders above it, and every verified file.
 *
 * Promise: if a user other than root and the current one can change it, Kwyre refuses to start. A layer that relies on
 *          this program is reported as enforced only if nobody but root can change the program.
 * Trust:   `linux/files/path-writers.ts` decides for each path.
 * Proof:   test/unit/layers/3-tree-access.test.ts, test/attacks/3-system.test.ts, test/attacks/3-tree.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';
import type { Grant, Writers, WritersDisk } from '../../linux/files/path-writers.ts';
import { describeGrant, grantsOf, mendingOf, sortWriters, writersOf } from '../../linux/files/path-writers.ts';
import type * as fs from 'node:fs';
import type { FoundRights } from '../../oms/tree-reader.ts';
import { printable } from '../../oms/verification-error.ts';

/** The signed entries at the root of an installation. Models have manifests of their own (layer 4). */
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

/** The folder of the signature and, unless root keeps it in `/etc/kwyre`, of the trust file. */
const signatureFolder = 'seal';

/** The `node:fs` functions that are used here. */
type AccessDisk = WritersDisk & Pick<typeof fs, 'readdirSync'>;

/** Which users can change the program. */
export type Access = {
  /** Whether only root can change the program, and another user runs it. */
  readonly rootOnly: boolean;
  /** If not, the reason and how to fix it. */
  readonly reason: string;
};

/** The installation to examine. */
export type AccessInput = { readonly disk: AccessDisk; readonly root: string; readonly uid: number };

/** Folders of Kwyre's own files. They have no published digests, so each file is listed. */
const ownFolders = ['dist', 'page', 'src'] as const;

/** Returns the write grants on the path to the installation and on its entries. */
export function pathGrants({ disk, root }: AccessInput): Grant[] {
  return writersOf(disk, [root, ...[...signedEntries, signatureFolder].map((name) => `${root}/${name}`)]);
}

/** One of Kwyre's own files or folders; `name` is relative to the root. */
export type OwnEntry = { readonly name: string; readonly facts: fs.Stats };

/** Lists Kwyre's own files and folders; does not descend into links or `node_modules`, which are refused elsewhere. */
export function listOwnFiles({ disk, root }: AccessInput): OwnEntry[] {
  const entries: OwnEntry[] = [];
  const visit = (folder: string): void => {
    for (const part of disk.readdirSync(`${root}/${folder}`)) {
      const name = `${folder}/${part}`;
      const facts = disk.lstatSync(`${root}/${name}`, { throwIfNoEntry: false });
      if (facts === undefined) continue; // removed in the meantime
      entries.push({ name, facts });
      if (facts.isDirectory() && part !== 'node_modules') visit(name);
    }
  };
  for (const name of ownFolders)
    if (disk.lstatSync(`${root}/${name}`, { throwIfNoEntry: false })?.isDirectory() === true) visit(name);
  return entries;
}

/**
 * Returns Kwyre's own entries that are neither plain files nor folders, such as links, whose targets are not examined.
 */
export function irregularOwnFiles({ disk, root }: AccessInput, entries: readonly OwnEntry[]): string[] {
  const folders = ownFolders.filter(
    (name) => disk.lstatSync(`${root}/${name}`, { throwIfNoEntry: false })?.isDirectory() === false,
  );
  return [
    ...folders,
    ...entries.filter(({ facts }) => !facts.isDirectory() && !facts.isFile()).map(({ name }) => name),
  ];
}

/** Refuses links and devices among Kwyre's own files. @throws `L3_OWN_LINKED` */
export function refuseIrregular(input: AccessInput, entries: readonly OwnEntry[]): void {
  const [first, ...more] = irregularOwnFiles(input, entries);
  if (first === undefined) return;
  const path = printable(`${input.root}/${first}`);
  const others = more.length > 0 ? `, and ${more.length} more` : '';
  throw new KwyreError(
    'L3_OWN_LINKED',
    `${path} is a symbolic link or not a plain file or folder${others}; its target is not verified`,
    `replace ${path} with the real file or folder, or install again`,
  );
}

/** Returns the write grants on Kwyre's own files. */
export function ownGrants({ root }: Pick<AccessInput, 'root'>, entries: readonly OwnEntry[]): Grant[] {
  return entries.flatMap(({ name, facts }) => grantsOf(`${root}/${name}`, facts, false));
}

/** Returns the write grants that a walk over the verified files found. */
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

/** Refuses write grants to users other than root and the current one. @throws `L3_OTHERS_WRITE` */
export function refuseOtherWriters(input: AccessInput, { others }: Writers): void {
  if (others.length === 0) return;
  const lines = others.slice(0, shown).map((grant) => `\n  ${printable(grant.path)} (${describeGrant(grant)})`);
  const more = others.length > shown ? `\n  and ${others.length - shown} more` : '';
  const whose = input.uid === 0 ? 'root' : `root and the current user (${input.uid})`;
  throw new KwyreError(
    'L3_OTHERS_WRITE',
    `users other than ${whose} can change the program:${lines.join('')}${more}`,
    fixFor(input, others),
  );
}

/** Returns one command for all files in the tree with a wrong owner, and one command for each other path. */
function fixFor({ root, uid }: AccessInput, grants: readonly Grant[]): string {
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
      ? '; or run it as its owner, or install a copy that only root can write: ./kwyre isolate install'
      : '';
  return `as root: ${commands}${instead}`;
}

/** Returns how write permissions affect verifications made by this program. */
export function judgeAccess(input: AccessInput, writers: Writers): Access {
  const foreign = writers.others[0] ?? writers.groups[0];
  if (foreign !== undefined)
    return {
      rootOnly: false,
      reason: [
        `detect-only: users other than root can change ${printable(foreign.path)} (${describeGrant(foreign)})`,
        mendingOf([foreign]),
      ].join(': '),
    };
  if (input.uid === 0)
    return { rootOnly: false, reason: 'detect-only, same owner: root runs the program and can change it' };
  const [own] = writers.own;
  if (own === undefined) return { rootOnly: true, reason: '' };
  return {
    rootOnly: false,
    reason:
      `detect-only, same owner: the current user owns ${printable(own.path)}; ` +
      'for a copy that only root can change: sudo ./kwyre isolate install',
  };
}

/** Sorts the grants by writer: the current user, groups, others. */
export function sortAccess(input: AccessInput, grants: readonly Grant[]): Writers {
  return sortWriters(grants, input.uid, input.disk);
}
