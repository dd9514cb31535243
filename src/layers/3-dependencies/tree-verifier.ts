/**
 * The installed tree against what was published (committed digests) or sealed (a signed manifest), before any
 * third-party byte is read as code.
 *
 * Promise: every file is hashed at every start; changed, added, missing, linked, renamed and other users' files refuse
 *          the start by name (exit 13). There is no variable, flag or file that skips it. Uses node: built-ins only.
 * Trust:   without a seal the list of digests belongs to whoever owns the checkout: detect-only, and the status says
 *          so. What others than root and the user who runs it can write refuses the start (`tree-access.ts`).
 * Limits:  a process of the owner can change a file after it was verified; the load hook looks again at what is loaded.
 * Proof:   test/unit/layers/3-tree-verifier.test.ts, test/attacks/3-tree.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import type { Check } from '../../base/verdict.ts';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError, faultsOf, printable } from '../../oms/verification-error.ts';
import { asShown } from '../../linux/procfs/escaped-path.ts';
import type { Disk, Rights } from '../../oms/tree-reader.ts';
import type { SignedFile } from '../../oms/statement.ts';
import { rootDigest } from '../../oms/statement.ts';
import type { TreeEvidence } from '../../oms/manifest-verifier.ts';
import { compareTree } from '../../oms/manifest-verifier.ts';
import type { Access, AccessInput, OwnEntry } from './tree-access.ts';
import {
  pathGrants,
  foundGrants,
  judgeAccess,
  listOwnFiles,
  ownGrants,
  refuseOtherWriters,
  refuseIrregular,
  sortAccess,
} from './tree-access.ts';
import { compareLockfile, digestsRemedy, parseDigests } from './published-digests.ts';
import type { RuntimeEvidence } from './runtime-check.ts';
import { environmentFaults, mappingFaults } from './runtime-check.ts';

/** What this process is, as the caller sees it. */
export type Running = {
  readonly executable: string;
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly compileCache: string | undefined;
  /** `/proc/self/maps` */
  readonly maps: string;
  readonly uid: number;
  readonly platform: string;
};

/** What to verify. */
export type TreeInput = {
  readonly disk: Disk & Pick<typeof fs, 'statSync' | 'readlinkSync' | 'readFileSync'>;
  /** Root of the installation. */
  readonly root: string;
  /** The committed list of digests for this platform. */
  readonly digests: string;
  /** `package-lock.json` */
  readonly lockfile: string;
  readonly running: Running;
  /** Threads that hash. */
  readonly threads: number;
  readonly now: () => number;
};

/** What a state folder remembers of the last seal that it saw of an installation. */
export type SeenSignature = {
  readonly sequence: number;
  /** Id of the key that sealed; empty where an older version remembered the number alone. */
  readonly key: string;
  /** Root digest; empty likewise. */
  readonly root: string;
};

/** A tree that was verified in this run. */
export type VerifiedTree = {
  /** Whether our own files are among `files`, under a signature. */
  readonly signed: boolean;
  /** The seal, to be remembered; `undefined` without one. */
  readonly signature: SeenSignature | undefined;
  /** Who can change what was verified, and what verified it. */
  readonly access: Access;
  /** Digests by path relative to the root: what the load hook compares with. */
  readonly files: ReadonlyMap<string, string>;
  readonly root: string;
  readonly evidence: TreeEvidence & {
    readonly digest: string;
    readonly seconds: number;
    readonly libraries: readonly string[];
  };
  /** Lines of `GET /kwyre/status`. */
  readonly checks: readonly Check[];
};

/** What is to be compared: its list is trusted, its files are not yet. */
export type PreparedTree = {
  readonly files: ReadonlyMap<string, string>;
  readonly root: string;
  readonly signed: boolean;
  /** Whether this process itself is as it should be; `compare` says what is not. */
  readonly sound: boolean;
  /**
   * Hashes every file and compares it.
   * @param copies - descriptors that take the hashed bytes of files, by their names relative to the root
   * @throws `L3_FILES_DIFFER` with every difference, `L3_OTHERS_WRITE`
   */
  readonly compare: (copies?: ReadonlyMap<string, number>) => VerifiedTree;
};

/** No code: npm's own record of what it installed, and the launcher's digest of the lockfile that it installed by. */
export const unlistedFiles = ['.package-lock.json', '.kwyre-lock.sha256'] as const;

/** Folders in which a module would be found before the verified ones. */
const codeFolders = ['dist', 'src'] as const;

/** The file of a platform's Node, relative to the root. */
export function nodePath(platform: string): string {
  return `node_modules/node-${platform}/bin/node`;
}

/** The order as a question about rights to write. */
export function accessInput({ disk, root, running }: TreeInput): AccessInput {
  return { disk, root, uid: running.uid };
}

/**
 * Rights in the tree: files belong to root or to the user who runs it. A second name of a file gives nobody rights that
 * its owner and mode do not give, and profilers make some (`perf` keeps one of Node): it is shown here, and refused
 * where root sealed the installation.
 */
export function treeRights(order: Pick<TreeInput, 'running'>): Rights {
  return { owners: new Set([0, order.running.uid]), refuseGroupWritable: false, refuseLinks: false };
}

/**
 * Reads the list of the third-party tree.
 * @throws `L3_OTHERS_WRITE`, `L3_OWN_LINKED`, `L3_LOCKFILE_DIFFERS`, `L3_DIGESTS_SHAPE`
 */
export function prepareTree(order: TreeInput): PreparedTree {
  const { disk, root, running } = order;
  const startedAt = order.now();
  const who = accessInput(order);
  const own = listOwnFiles(who);
  const around = [...pathGrants(who), ...ownGrants(who, own)];
  refuseOtherWriters(who, sortAccess(who, around));
  refuseIrregular(who, own);
  const packages = parseDigests(order.digests);
  const [drifted] = compareLockfile(packages, order.lockfile);
  if (drifted !== undefined)
    throw faultsOf(3, digestsRemedy)(
      'LOCKFILE_DIFFERS',
      `package-lock.json and the committed digests name different packages at ${drifted}`,
    );
  const files = packages.flatMap((entry) => entry.files);
  const digests = new Map(files.map((file) => [file.name, file.digest ?? '']));
  // The process first: who brought code into it explains the rest.
  const inProcess = processFaults(order);
  return {
    files: digests,
    root,
    signed: false,
    sound: inProcess.length === 0,
    compare(copies = new Map()) {
      const prefix = 'node_modules/';
      const inside = files.map((file): SignedFile => ({ ...file, name: file.name.slice(prefix.length) }));
      const copied = new Map([...copies].map(([name, fd]) => [name.slice(prefix.length), fd]));
      const { differences, evidence, rights } = compareTree({
        disk,
        root: `${root}/node_modules`,
        files: inside,
        excluded: new Set(unlistedFiles),
        rights: treeRights(order),
        shardBytes: undefined,
        threads: order.threads,
        copies: copied,
      });
      const all: Difference[] = [
        ...inProcess,
        ...differences.map((entry) => ({
          ...entry,
          name: entry.kind === 'kind' && entry.name.startsWith('/') ? entry.name : `${prefix}${entry.name}`,
        })),
      ];
      all.push(...strayFaults(order, own));
      const mapped = mappingFaults(disk, running.maps, identitiesOf(order, [nodePath(running.platform)]), running.uid);
      all.push(...mapped.faults);
      if (all.length > 0) throw new DifferenceError(3, `what is installed in ${root}`, all, digestsRemedy);
      const writers = sortAccess(who, [...around, ...foundGrants(`${root}/node_modules`, rights)]);
      refuseOtherWriters(who, writers);
      const access = judgeAccess(who, writers);
      const seconds = (order.now() - startedAt) / 1000;
      const digest = rootDigest(files.map((file) => file.digest ?? ''));
      return {
        files: digests,
        root,
        signed: false,
        signature: undefined,
        access,
        evidence: { ...evidence, digest, seconds, libraries: mapped.evidence.libraries },
        checks: reportTree(order, evidence, access, digest, seconds, mapped.evidence),
      };
    },
  };
}

/**
 * Verifies the third-party tree, Node and this process.
 * @throws `L3_FILES_DIFFER` with every difference, `L3_OTHERS_WRITE`, `L3_OWN_LINKED`, `L3_LOCKFILE_DIFFERS`,
 * `L3_DIGESTS_SHAPE`
 */
export function verifyTree(order: TreeInput): VerifiedTree {
  return prepareTree(order).compare();
}

/**
 * Paths (as the kernel shows them) and `device:inode` of files below the root, to know them again in `/proc/PID/maps`.
 */
export function identitiesOf(order: Pick<TreeInput, 'disk' | 'root'>, names: Iterable<string>): Set<string> {
  const found = new Set<string>();
  for (const name of names) {
    const facts = order.disk.lstatSync(`${order.root}/${name}`, { throwIfNoEntry: false });
    if (facts !== undefined) found.add(`${facts.dev}:${facts.ino}`).add(asShown(`${order.root}/${name}`));
  }
  return found;
}

/** Another Node than the listed one, and variables or flags that are not ours. */
export function processFaults(order: TreeInput): Difference[] {
  const { environment, flags, compileCache } = order.running;
  return [...nodeFaults(order), ...environmentFaults(environment, flags, compileCache)];
}

/** Modules or package files that would be found before the verified tree, and a record that is no file. */
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
      faults.push({ kind: 'extra', name, found: 'modules would be taken from here instead of the verified tree' });
  }
  return faults;
}

/** Whether this very process runs the Node that was hashed. */
function nodeFaults(order: TreeInput): Difference[] {
  const { disk, root, running } = order;
  const name = nodePath(running.platform);
  const listed = disk.lstatSync(`${root}/${name}`, { throwIfNoEntry: false });
  const own = disk.statSync(running.executable, { throwIfNoEntry: false });
  if (listed !== undefined && own !== undefined && own.dev === listed.dev && own.ino === listed.ino) return [];
  return [
    { kind: 'changed', name, expected: 'to be the program that runs', found: 'another Node; start with ./kwyre' },
  ];
}

function reportTree(
  order: TreeInput,
  evidence: TreeEvidence,
  access: Access,
  digest: string,
  seconds: number,
  runtime: RuntimeEvidence,
): Check[] {
  const at = order.now();
  return [
    {
      id: 'third-party-tree',
      status: access.rootOnly ? 'enforced' : 'degraded',
      evidence: `every file hashed: ${evidence.files} files, ${evidence.bytes} bytes in ${seconds.toFixed(2)} s, as published; root sha256:${digest}${access.rootOnly ? '' : `; ${access.reason}`}`,
      at,
    },
    ...runtimeChecks(order, 'verified', runtime, at),
    {
      id: 'own-code',
      status: 'degraded',
      evidence: "not sealed: Kwyre's own files are under no signature; ./kwyre deps seal covers them",
      at,
    },
    ...rightsChecks(evidence, at),
  ];
}

/**
 * What is shown of Node, of the system's libraries in this process, and of what the system brings into every process.
 */
export function runtimeChecks(
  order: Pick<TreeInput, 'disk'>,
  which: 'verified' | 'sealed',
  { libraries, wide }: RuntimeEvidence,
  at: number,
): Check[] {
  const preloaded = readPreload(order.disk);
  return [
    {
      id: 'runtime',
      status: wide === '' ? 'enforced' : 'degraded',
      evidence: `runs the ${which} Node with our flags only; ${libraries.length} libraries of the system are mapped, ${wide === '' ? 'each writable by root alone' : `of which others than root can write one: ${wide}`}`,
      at,
    },
    ...(preloaded === ''
      ? []
      : [
          {
            id: 'preload',
            status: 'degraded' as const,
            evidence: `the system puts libraries into every program (/etc/ld.so.preload): ${preloaded}`,
            at,
          },
        ]),
  ];
}

/** What the dynamic loader puts into every program of this machine; empty where that is nothing. */
function readPreload(disk: Pick<typeof fs, 'readFileSync'>): string {
  let text: string;
  try {
    text = disk.readFileSync('/etc/ld.so.preload', 'utf8');
  } catch {
    return '';
  }
  return printable(
    text
      .replace(/#.*$/gm, '')
      .split(/[\s:]+/)
      .filter((name) => name !== '')
      .join(', '),
  ).slice(0, 512);
}

/**
 * Whether the program that compares, and the constants in it, can be trusted: no check of another layer is worth more.
 */
export function programCheck({ signed, access }: Pick<VerifiedTree, 'signed' | 'access'>, at: number): Check {
  const good = signed && access.rootOnly;
  const reasons = [
    ...(signed ? [] : ['it is under no signature: ./kwyre deps seal']),
    ...(access.rootOnly ? [] : [access.reason]),
  ];
  return {
    id: 'program',
    status: good ? 'enforced' : 'degraded',
    evidence: good
      ? 'the program that compared, with its constants, is sealed, and only root can change it'
      : `the program that compared, with its constants, could be another one: ${reasons.join('; ')}`,
    at,
  };
}

/** What is shown of rights that are wider than they need be. */
export function rightsChecks(evidence: TreeEvidence, at: number): Check[] {
  return [
    ...(evidence.groupWritable > 0
      ? [
          {
            id: 'group-writable',
            status: 'degraded' as const,
            evidence: `${evidence.groupWritable} files can be written by their group`,
            at,
          },
        ]
      : []),
    ...(evidence.hardLinks > 0
      ? [
          {
            id: 'hard-links',
            status: 'degraded' as const,
            evidence: `${evidence.hardLinks} files have a second name elsewhere, through which their owner could write them`,
            at,
          },
        ]
      : []),
  ];
}
