/**
 * Gathers the facts about the installation that a process runs from, and verifies it against its signature or the
 * published digests.
 *
 * Imports only node: built-ins, because it runs before the first third-party module is loaded (koffi, in
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
import type { SignatureFiles } from './signature/signed-tree.ts';
import { prepareSignedTree } from './signature/signed-tree.ts';
import type { PreparedTree, SeenSignature, TreeInput, VerifiedTree } from './types.ts';
import { prepareTree } from './tree-verifier.ts';

/** The `node:fs` functions that are used here. */
type InstallationDisk = Disk & Pick<typeof fs, 'statSync' | 'readFileSync' | 'readlinkSync'>;

/** The verifying process. */
type Self = Pick<NodeJS.Process, 'platform' | 'arch' | 'execArgv' | 'env'> & { getuid?: () => number };

function readText(disk: InstallationDisk, path: string): string {
  try {
    return disk.readFileSync(path, 'utf8');
  } catch (error) {
    throw new KwyreError(
      'L3_MANIFEST_ABSENT',
      `cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'}), which is needed for verification`,
      'restore the file with git checkout, or install again',
    );
  }
}

/** Returns what to verify. @throws `L3_PLATFORM`, `L3_MANIFEST_ABSENT` */
export function describeInstallation(disk: InstallationDisk, self: Self, root: string): TreeInput {
  const platform = `${self.platform}-${self.arch}`;
  if (platform !== 'linux-x64' && platform !== 'linux-arm64')
    throw new KwyreError(
      'L3_PLATFORM',
      `Kwyre does not support ${platform}`,
      'run Kwyre on 64-bit Linux; WSL2 works too',
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
 * Reads what the installation is compared with: its signature if there is one, otherwise the published digests.
 * @param remembered - the last signature that the state folder remembers
 * @throws `L3_SEAL_ABSENT` if a signature was seen before and is missing, `L3_*` (exit 13)
 */
export function prepareInstallation(
  input: TreeInput,
  stored: SignatureFiles | undefined,
  wallClock: Date,
  remembered?: SeenSignature,
): PreparedTree {
  if (stored !== undefined) return prepareSignedTree(input, stored, wallClock, remembered);
  if (remembered === undefined) return prepareTree(input);
  throw new KwyreError(
    'L3_SEAL_ABSENT',
    `the installation in ${input.root} was signed as number ${remembered.sequence}, but its signature is missing`,
    'restore seal/; or review ./kwyre deps plan and sign again: ./kwyre deps seal --reason "..."; ' +
      'or, to run without a signature, delete sealed.json from the state folder',
  );
}

/** Verifies the installation. @throws `L3_*` (exit 13) */
export function verifyInstallation(
  input: TreeInput,
  stored: SignatureFiles | undefined,
  wallClock: Date,
  remembered?: SeenSignature,
): VerifiedTree {
  return prepareInstallation(input, stored, wallClock, remembered).compare();
}
