/**
 * Verifies the installed third-party tree against the published digests, before any third-party byte runs as code.
 *
 * Promise: hashes every file at every start. If a file is changed, added, missing, linked, renamed or owned by another
 *          user, Kwyre refuses to start and names the file (exit 13). No variable, flag or file skips this. A folder
 *          that is never used (`unusedFolders`) may be missing, but only as a whole. Imports only node: built-ins.
 * Trust:   without a signature, the owner of the checkout controls the list of digests; the status reports this as
 *          detect-only. If users other than root and the current one can write a file, Kwyre refuses to start
 *          (`tree-access.ts`).
 * Limits:  the owner's processes can change a file after verification; the load hook compares each file again.
 * Proof:   test/unit/layers/3-tree-verifier.test.ts, test/attacks/3-tree.test.ts
 * @module
 */
import { asShown } from '../../linux/procfs/escaped-path.ts';
import { compareTree } from '../../oms/manifest-verifier.ts';
import type { SignedFile } from '../../oms/statement.ts';
import { rootDigest } from '../../oms/statement.ts';
import type { Rights } from '../../oms/tree-reader.ts';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError, faultsOf } from '../../oms/verification-error.ts';
import { compareLockfile, digestsRemedy, parseDigests, unusedFolders } from './published-digests.ts';
import { environmentFaults, mappingFaults } from './runtime-check.ts';
import type { AccessInput, OwnEntry } from './tree-access.ts';
import {
  foundGrants,
  judgeAccess,
  listOwnFiles,
  ownGrants,
  pathGrants,
  refuseIrregular,
  refuseOtherWriters,
  sortAccess,
} from './tree-access.ts';
import { unsignedTreeChecks } from './tree-checks.ts';
import type { PreparedTree, TreeInput, VerifiedTree } from './types.ts';

/**
 * Files that are not code: npm's record of the installed packages, and the lockfile digest that the launcher keeps.
 */
const unlistedFiles = ['.package-lock.json', '.kwyre-lock.sha256'] as const;

/** Folders in which Node would look for a module before it finds the verified one. */
const codeFolders = ['dist', 'src'] as const;

/** Returns the path of a platform's Node, relative to the root. */
export function nodePath(platform: string): string {
  return `node_modules/node-${platform}/bin/node`;
}

/** Returns the part of the input that decides who can write the tree. */
export function accessInput({ disk, root, running }: TreeInput): AccessInput {
  return { disk, root, uid: running.uid };
}

/**
 * Returns the required permissions: files must belong to root or the current user. A hard link grants nothing that
 * owner and mode do not, and `perf` creates a hard link to Node. So hard links are only reported here, but refused if
 * root signed the tree.
 */
export function treeRights(input: Pick<TreeInput, 'running'>): Rights {
  return { owners: new Set([0, input.running.uid]), refuseGroupWritable: false, refuseLinks: false };
}

/**
 * Reads the list of the third-party tree and checks who can write to it.
 * @throws `L3_OTHERS_WRITE`, `L3_OWN_LINKED`, `L3_LOCKFILE_DIFFERS`, `L3_DIGESTS_SHAPE`
 */
export function prepareTree(input: TreeInput): PreparedTree {
  const { disk, root, running } = input;
  const startedAt = input.now();
  const who = accessInput(input);
  const own = listOwnFiles(who);
  const around = [...pathGrants(who), ...ownGrants(who, own)];
  refuseOtherWriters(who, sortAccess(who, around));
  refuseIrregular(who, own);
  const packages = parseDigests(input.digests);
  const [drifted] = compareLockfile(packages, input.lockfile);
  if (drifted !== undefined)
    throw faultsOf(3, digestsRemedy)(
      'LOCKFILE_DIFFERS',
      `package-lock.json and the published digests differ at ${drifted}`,
    );
  const files = packages.flatMap((entry) => entry.files);
  const digests = new Map(files.map((file) => [file.name, file.digest ?? '']));
  // Checked first, because a fault in this process may explain all the others.
  const inProcess = processFaults(input);
  return {
    files: digests,
    root,
    signed: false,
    sound: inProcess.length === 0,
    compare(copies = new Map()) {
      const prefix = 'node_modules/';
      const removed = unusedFolders(running.platform).filter(
        (folder) => disk.lstatSync(`${root}/${folder}`, { throwIfNoEntry: false }) === undefined,
      );
      const kept = files.filter(({ name }) => !removed.some((folder) => name.startsWith(`${folder}/`)));
      const inside = kept.map((file): SignedFile => ({ ...file, name: file.name.slice(prefix.length) }));
      const copied = new Map([...copies].map(([name, fd]) => [name.slice(prefix.length), fd]));
      const { differences, evidence, rights } = compareTree({
        disk,
        root: `${root}/node_modules`,
        files: inside,
        excluded: new Set(unlistedFiles),
        rights: treeRights(input),
        shardBytes: undefined,
        threads: input.threads,
        copies: copied,
      });
      const all: Difference[] = [
        ...inProcess,
        ...differences.map((entry) => ({
          ...entry,
          name: entry.kind === 'kind' && entry.name.startsWith('/') ? entry.name : `${prefix}${entry.name}`,
        })),
      ];
      all.push(...strayFaults(input, own));
      const mapped = mappingFaults(disk, running.maps, identitiesOf(input, [nodePath(running.platform)]), running.uid);
      all.push(...mapped.faults);
      if (all.length > 0) throw new DifferenceError(3, `the installation in ${root}`, all, digestsRemedy);
      const writers = sortAccess(who, [...around, ...foundGrants(`${root}/node_modules`, rights)]);
      refuseOtherWriters(who, writers);
      const access = judgeAccess(who, writers);
      const seconds = (input.now() - startedAt) / 1000;
      const digest = rootDigest(files.map((file) => file.digest ?? ''));
      return {
        files: digests,
        root,
        signed: false,
        signature: undefined,
        access,
        evidence: { ...evidence, digest, seconds, libraries: mapped.evidence.libraries },
        checks: unsignedTreeChecks(input, evidence, access, digest, seconds, mapped.evidence),
      };
    },
  };
}

/**
 * Verifies the third-party tree, Node and this process.
 * @throws `L3_FILES_DIFFER` with every difference, `L3_OTHERS_WRITE`, `L3_OWN_LINKED`, `L3_LOCKFILE_DIFFERS`,
 * `L3_DIGESTS_SHAPE`
 */
export function verifyTree(input: TreeInput): VerifiedTree {
  return prepareTree(input).compare();
}

/** Returns paths (as the kernel prints them) and `device:inode` of files, to recognize them in `/proc/PID/maps`. */
export function identitiesOf(input: Pick<TreeInput, 'disk' | 'root'>, names: Iterable<string>): Set<string> {
  const found = new Set<string>();
  for (const name of names) {
    const facts = input.disk.lstatSync(`${input.root}/${name}`, { throwIfNoEntry: false });
    if (facts !== undefined) found.add(`${facts.dev}:${facts.ino}`).add(asShown(`${input.root}/${name}`));
  }
  return found;
}

/** Returns this process's faults: a Node binary other than the listed one, and unsafe variables or flags. */
export function processFaults(input: TreeInput): Difference[] {
  const { environment, flags, compileCache } = input.running;
  return [...nodeFaults(input), ...environmentFaults(environment, flags, compileCache)];
}

/** Returns modules that Node would find before the verified ones, and unlisted files that are not plain files. */
function strayFaults({ disk, root }: TreeInput, own: readonly OwnEntry[]): Difference[] {
  const faults: Difference[] = [];
  for (const record of unlistedFiles) {
    const facts = disk.lstatSync(`${root}/node_modules/${record}`, { throwIfNoEntry: false });
    if (facts !== undefined && !facts.isFile()) faults.push({ kind: 'kind', name: `node_modules/${record}` });
  }
  for (const { name, facts } of own) {
    if (!codeFolders.some((folder) => name.startsWith(`${folder}/`))) continue;
    if (facts.isSymbolicLink()) faults.push({ kind: 'kind', name, found: 'a symbolic link' });
    else if (/\/(?:node_modules|package\.json)$/.test(name))
      faults.push({ kind: 'extra', name, found: 'Node would load modules from here instead of the verified tree' });
  }
  return faults;
}

/** Checks that this process runs the Node binary that was hashed. */
function nodeFaults(input: TreeInput): Difference[] {
  const { disk, root, running } = input;
  const name = nodePath(running.platform);
  const listed = disk.lstatSync(`${root}/${name}`, { throwIfNoEntry: false });
  const own = disk.statSync(running.executable, { throwIfNoEntry: false });
  if (listed !== undefined && own !== undefined && own.dev === listed.dev && own.ino === listed.ino) return [];
  return [
    { kind: 'changed', name, expected: 'to be the running program', found: 'another Node runs; start with ./kwyre' },
  ];
}
