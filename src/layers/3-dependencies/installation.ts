/**
 * The installation that a process runs from: what to verify, from the process's own view, and how (sealed or
 * published).
 *
 * Uses node: built-ins only; must run before the first import of a third-party module (koffi comes with
 * `linux/ffi.ts`).
 * Proof: test/unit/layers/3-tree-verifier.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import { getCompileCacheDir } from 'node:module';
import { availableParallelism } from 'node:os';
import { KwyreError } from '../../base/errors.ts';
import type { Disk } from '../../oms/tree-reader.ts';
import { digestsFile } from './published-digests.ts';
import type { SignatureFiles } from './signed-tree.ts';
import { prepareSignedTree } from './signed-tree.ts';
import type { PreparedTree, SeenSignature, TreeInput, VerifiedTree } from './tree-verifier.ts';
import { prepareTree } from './tree-verifier.ts';

/** The calls that are needed, from `node:fs`. */
export type InstallationDisk = Disk & Pick<typeof fs, 'statSync' | 'readFileSync' | 'readlinkSync'>;

/** The process that verifies: `process` itself. */
export type Self = Pick<NodeJS.Process, 'platform' | 'arch' | 'execArgv' | 'env'> & { getuid?: () => number };

function readText(disk: InstallationDisk, path: string): string {
  try {
    return disk.readFileSync(path, 'utf8');
  } catch (error) {
    throw new KwyreError(
      'L3_MANIFEST_ABSENT',
      `cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'}), so that nothing can be verified`,
      'get the file back with git checkout, or install again',
    );
  }
}

/** What to verify. @throws `L3_PLATFORM`, `L3_MANIFEST_ABSENT` */
export function describeInstallation(disk: InstallationDisk, self: Self, root: string): TreeInput {
  const platform = `${self.platform}-${self.arch}`;
  if (platform !== 'linux-x64' && platform !== 'linux-arm64')
    throw new KwyreError(
      'L3_PLATFORM',
      `there are no digests for ${platform}`,
      'run Kwyre on 64-bit Linux (or inside WSL2)',
    );
  return {
    disk,
    root,
    digests: readText(disk, `${root}/src/layers/3-dependencies/${digestsFile(platform)}`),
    lockfile: readText(disk, `${root}/package-lock.json`),
    threads: Math.min(2, availableParallelism()),
    now: () => performance.now() + performance.timeOrigin,
    running: {
      executable: '/proc/self/exe',
      flags: self.execArgv,
      environment: self.env,
      compileCache: getCompileCacheDir(),
      maps: disk.readFileSync('/proc/self/maps', 'latin1'),
      uid: self.getuid?.() ?? 0,
      platform,
    },
  };
}

/**
 * Reads what the installation is compared with: the seal where there is one, else the committed digests.
 * @param remembered - the last seal that the state folder saw of it
 * @throws `L3_SEAL_ABSENT` when a seal was seen and is gone, `L3_*` (exit 13)
 */
export function prepareInstallation(
  order: TreeInput,
  seal: SignatureFiles | undefined,
  wallClock: Date,
  remembered?: SeenSignature,
): PreparedTree {
  if (seal !== undefined) return prepareSignedTree(order, seal, wallClock, remembered);
  if (remembered === undefined) return prepareTree(order);
  throw new KwyreError(
    'L3_SEAL_ABSENT',
    `the installation in ${order.root} was sealed as number ${remembered.sequence}, and its seal is gone: the folder seal/ is missing`,
    'put seal/ back; or look at ./kwyre deps plan and seal again: ./kwyre deps seal --reason "..."; or, to run unsealed on purpose, remove sealed.json from the state folder',
  );
}

/** Verifies the installation. @throws `L3_*` (exit 13) */
export function verifyInstallation(
  order: TreeInput,
  seal: SignatureFiles | undefined,
  wallClock: Date,
  remembered?: SeenSignature,
): VerifiedTree {
  return prepareInstallation(order, seal, wallClock, remembered).compare();
}
